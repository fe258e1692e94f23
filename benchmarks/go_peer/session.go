package main

import (
	"sync"
	"time"
)

const duplicateWindow = 128

type payloadHash [16]byte

// session is what is remembered from request to request.
type session struct {
	lock      sync.Mutex
	consents  bool
	ended     bool
	allowance float64
	refilled  time.Time
	recent    []payloadHash
	next      int
}

type sessionTable struct {
	rate, burst float64
	lock        sync.RWMutex
	sessions    map[sessionID]*session
}

func newSessionTable(rate, burst float64) *sessionTable {
	return &sessionTable{rate: rate, burst: burst, sessions: map[sessionID]*session{}}
}

func (t *sessionTable) of(c *claims, now time.Time) *session {
	t.lock.RLock()
	found := t.sessions[c.sessionID]
	t.lock.RUnlock()
	if found != nil {
		return found
	}
	t.lock.Lock()
	defer t.lock.Unlock()
	if found = t.sessions[c.sessionID]; found == nil {
		found = &session{consents: true, allowance: t.burst, refilled: now}
		t.sessions[c.sessionID] = found
	}
	return found
}

// permit: consent, then the end, then the rate, as the code of a refusal or "".
func (s *session) permit(now time.Time, rate, burst float64) string {
	s.lock.Lock()
	defer s.lock.Unlock()
	if !s.consents {
		return "consent_missing"
	}
	if s.ended {
		return "session_ended"
	}
	if elapsed := now.Sub(s.refilled).Seconds(); elapsed > 0 {
		s.allowance += elapsed * rate
		if s.allowance > burst {
			s.allowance = burst
		}
		s.refilled = now
	}
	if s.allowance < 1 {
		return "rate_exceeded"
	}
	s.allowance--
	return ""
}

func (s *session) seen(hash payloadHash) bool {
	s.lock.Lock()
	defer s.lock.Unlock()
	for i := range s.recent {
		if s.recent[i] == hash {
			return true
		}
	}
	return false
}

// remember a durable batch, forgetting the oldest when the window is full.
func (s *session) remember(hash payloadHash) {
	s.lock.Lock()
	defer s.lock.Unlock()
	if len(s.recent) < duplicateWindow {
		s.recent = append(s.recent, hash)
		return
	}
	s.recent[s.next] = hash
	s.next = (s.next + 1) % duplicateWindow
}
