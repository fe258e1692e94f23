// The plain Go service the ingest service is measured against: the same contract for POST /v1/pose/frames, over
// net/http, with the same checks in the same order and a write-ahead log that is synced in groups.
//
// What it leaves out, in its own favour: the consent ledger (every session counts as consenting), the spool beside the
// log, recovery, media events and ends. Go 1.19 and later, klauspost/compress and cespare/xxhash; no other module.
package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const bodyMaxBytes = 256 * 1024

type server struct {
	tokens     *tokenVerifier
	sessions   *sessionTable
	log        *groupLog
	nodeID     string
	accepted   uint64
	duplicates uint64
	rejected   uint64
}

var bodies = sync.Pool{New: func() any { b := make([]byte, bodyMaxBytes); return &b }}

func main() {
	address := flag.String("listen", "127.0.0.1:8091", "address to listen on")
	jwks := flag.String("jwks", "", "file with the issuer's public keys")
	logPath := flag.String("log", "", "write-ahead log")
	node := flag.String("node", "", "this node's id")
	gather := flag.Duration("gather", 2*time.Millisecond, "how long a group waits for company before it is synced")
	rate := flag.Float64("rate", 4, "batches a second a session may send")
	burst := flag.Float64("burst", 600, "batches a session may send at once")
	flag.Parse()
	// Most garbage here is short-lived and the live heap small: collecting less often is the usual tuning.
	debug.SetGCPercent(400)
	tokens, err := newTokenVerifier(*jwks)
	if err != nil {
		log.Fatal(err)
	}
	groupLog, err := openGroupLog(*logPath, *gather)
	if err != nil {
		log.Fatal(err)
	}
	s := &server{tokens: tokens, sessions: newSessionTable(*rate, *burst), log: groupLog, nodeID: *node}
	mux := http.NewServeMux()
	mux.HandleFunc("/v1/pose/frames", s.poseFrames)
	mux.HandleFunc("/metrics", s.metrics)
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("ready")
	web := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 8192}
	log.Fatal(web.Serve(listener))
}

func (s *server) metrics(w http.ResponseWriter, _ *http.Request) {
	fmt.Fprintf(w, "ingest_accepted_total{kind=\"batch\"} %d\ningest_accepted_total{kind=\"duplicate\"} %d\n"+
		"ingest_rejected_total %d\n", atomic.LoadUint64(&s.accepted), atomic.LoadUint64(&s.duplicates),
		atomic.LoadUint64(&s.rejected))
}

func (s *server) poseFrames(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		s.refuse(w, http.StatusMethodNotAllowed, "method_not_allowed")
		return
	}
	now := time.Now()
	claims, code := s.tokens.verify(r.Header.Get("Authorization"), now)
	if code != "" {
		s.refuse(w, http.StatusUnauthorized, code)
		return
	}
	mediaType := r.Header.Get("Content-Type")
	if mediaType != "application/octet-stream" {
		mediaType, _, _ = strings.Cut(mediaType, ";")
		if !strings.EqualFold(strings.TrimSpace(mediaType), "application/octet-stream") {
			s.refuse(w, http.StatusUnsupportedMediaType, "media_type_unsupported")
			return
		}
	}
	pooled := bodies.Get().(*[]byte)
	defer bodies.Put(pooled)
	body, status, code := readBody(r, *pooled)
	if code != "" {
		s.refuse(w, status, code)
		return
	}
	if claims.node != "" && claims.node != s.nodeID {
		s.refuse(w, http.StatusMisdirectedRequest, "not_home_node")
		return
	}
	session := s.sessions.of(claims, now)
	if code := session.permit(now, s.sessions.rate, s.sessions.burst); code != "" {
		status := map[string]int{"consent_missing": 403, "session_ended": 409, "rate_exceeded": 429}[code]
		s.refuse(w, status, code)
		return
	}
	hash, status, code := checkBatch(body)
	if code != "" {
		s.refuse(w, status, code)
		return
	}
	duplicate := session.seen(hash)
	kind := kindBatch
	if duplicate {
		kind, body = kindDuplicate, nil
	}
	if err := s.log.append(kind, now, claims.sessionID, hash, body); err != nil {
		s.refuse(w, http.StatusServiceUnavailable, "disk_failed")
		return
	}
	if duplicate {
		atomic.AddUint64(&s.duplicates, 1)
	} else {
		session.remember(hash)
		atomic.AddUint64(&s.accepted, 1)
	}
	w.WriteHeader(http.StatusNoContent)
}

// readBody reads the whole body into buffer, or into a larger one where its length was not announced.
func readBody(r *http.Request, buffer []byte) ([]byte, int, string) {
	if r.ContentLength > bodyMaxBytes {
		return nil, http.StatusRequestEntityTooLarge, "body_too_large"
	}
	if r.ContentLength >= 0 {
		body := buffer[:r.ContentLength]
		if _, err := io.ReadFull(r.Body, body); err != nil {
			return nil, http.StatusBadRequest, "body_unreadable"
		}
		return body, 0, ""
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, bodyMaxBytes+1))
	if err != nil {
		return nil, http.StatusBadRequest, "body_unreadable"
	}
	if len(body) > bodyMaxBytes {
		return nil, http.StatusRequestEntityTooLarge, "body_too_large"
	}
	return body, 0, ""
}

func (s *server) refuse(w http.ResponseWriter, status int, code string) {
	atomic.AddUint64(&s.rejected, 1)
	body := `{"status":` + strconv.Itoa(status) + `,"code":"` + code + `"}`
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

func init() { log.SetOutput(os.Stderr) }
