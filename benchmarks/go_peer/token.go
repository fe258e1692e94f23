package main

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

const tokensRememberedMax = 40_000

type sessionID [16]byte

type claims struct {
	sessionID sessionID
	node      string
	expires   time.Time
}

// tokenVerifier checks a token's signature once and remembers the result; a remembered token still expires.
type tokenVerifier struct {
	keys       map[string]ed25519.PublicKey
	lock       sync.RWMutex
	remembered map[string]*claims
}

func newTokenVerifier(jwksPath string) (*tokenVerifier, error) {
	content, err := os.ReadFile(jwksPath)
	if err != nil {
		return nil, err
	}
	var set struct {
		Keys []struct{ Kty, Crv, Kid, X string }
	}
	if err := json.Unmarshal(content, &set); err != nil {
		return nil, fmt.Errorf("%s: %w", jwksPath, err)
	}
	keys := map[string]ed25519.PublicKey{}
	for _, key := range set.Keys {
		raw, err := base64.RawURLEncoding.DecodeString(key.X)
		if key.Kty == "OKP" && key.Crv == "Ed25519" && err == nil && len(raw) == ed25519.PublicKeySize {
			keys[key.Kid] = raw
		}
	}
	return &tokenVerifier{keys: keys, remembered: map[string]*claims{}}, nil
}

func (v *tokenVerifier) verify(authorization string, now time.Time) (*claims, string) {
	scheme, token, found := strings.Cut(authorization, " ")
	if !found || !strings.EqualFold(scheme, "bearer") || token == "" {
		return nil, "token_missing"
	}
	v.lock.RLock()
	known := v.remembered[token]
	v.lock.RUnlock()
	if known == nil {
		fresh, err := v.verifyNew(token)
		if err != nil {
			return nil, "token_invalid"
		}
		known = fresh
		v.lock.Lock()
		if len(v.remembered) >= tokensRememberedMax {
			for any := range v.remembered {
				delete(v.remembered, any)
				break
			}
		}
		v.remembered[strings.Clone(token)] = known
		v.lock.Unlock()
	}
	if !now.Before(known.expires) {
		return nil, "token_expired"
	}
	return known, ""
}

func (v *tokenVerifier) verifyNew(token string) (*claims, error) {
	parts := strings.Split(token, ".")
	if len(token) > 4096 || len(parts) != 3 {
		return nil, errors.New("not a compact JWS")
	}
	var header struct{ Alg, Kid string }
	if err := decodePart(parts[0], &header); err != nil || header.Alg != "EdDSA" {
		return nil, errors.New("not EdDSA")
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	key := v.keys[header.Kid]
	signed := token[:len(parts[0])+1+len(parts[1])]
	if err != nil || key == nil || !ed25519.Verify(key, []byte(signed), signature) {
		return nil, errors.New("signature")
	}
	var payload struct {
		Aud, Sid, Sub, Nod string
		Exp                *int64
		Iat                *int64
	}
	if err := decodePart(parts[1], &payload); err != nil {
		return nil, err
	}
	if payload.Aud != "telemetry" || payload.Exp == nil || payload.Iat == nil {
		return nil, errors.New("claims")
	}
	id, err := parseUUID(payload.Sid)
	if err != nil {
		return nil, err
	}
	return &claims{sessionID: id, node: payload.Nod, expires: time.Unix(*payload.Exp, 0)}, nil
}

func decodePart(part string, into any) error {
	raw, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}

func parseUUID(text string) (sessionID, error) {
	var id sessionID
	var high, low uint64
	plain := strings.ReplaceAll(text, "-", "")
	if len(plain) != 32 {
		return id, errors.New("not a UUID")
	}
	if _, err := fmt.Sscanf(plain, "%16x%16x", &high, &low); err != nil {
		return id, err
	}
	for i := 0; i < 8; i++ {
		id[i], id[8+i] = byte(high>>(56-8*i)), byte(low>>(56-8*i))
	}
	return id, nil
}
