package main

import (
	"encoding/binary"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/cespare/xxhash"
)

const (
	recordHeaderBytes = 72
	kindBatch         = byte(2)
	kindDuplicate     = byte(3)
)

// group is the records that wait for one sync, ready to be written in one call.
type group struct {
	buffer []byte
	done   chan struct{}
	err    error
}

// groupLog appends records and answers when they are on disk: one write and one fdatasync for all that wait.
type groupLog struct {
	file   *os.File
	gather time.Duration
	lock   sync.Mutex
	open   *group
	spare  []byte
	offset uint64
	failed error
	wake   chan struct{}
}

func openGroupLog(path string, gather time.Duration) (*groupLog, error) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	l := &groupLog{file: file, gather: gather, open: &group{done: make(chan struct{})}, wake: make(chan struct{}, 1)}
	go l.sync()
	return l, nil
}

// append copies the record into the open group and waits for its sync. After a failed sync nothing is acknowledged.
func (l *groupLog) append(kind byte, now time.Time, id sessionID, hash payloadHash, body []byte) error {
	var header [recordHeaderBytes]byte
	header[8], header[9] = 1, kind
	binary.LittleEndian.PutUint32(header[12:], uint32(len(body)))
	binary.LittleEndian.PutUint64(header[24:], uint64(now.UnixMicro()))
	copy(header[32:], id[:])
	copy(header[48:], hash[:])
	binary.LittleEndian.PutUint64(header[64:], xxhash.Sum64(body))
	l.lock.Lock()
	if l.failed != nil {
		l.lock.Unlock()
		return l.failed
	}
	g := l.open
	first := len(g.buffer) == 0
	binary.LittleEndian.PutUint64(header[16:], l.offset)
	binary.LittleEndian.PutUint64(header[:], xxhash.Sum64(header[8:]))
	g.buffer = append(append(g.buffer, header[:]...), body...)
	l.offset += uint64(recordHeaderBytes + len(body))
	l.lock.Unlock()
	if first {
		l.wake <- struct{}{}
	}
	<-g.done
	return g.err
}

func (l *groupLog) sync() {
	for range l.wake {
		if l.gather > 0 {
			time.Sleep(l.gather)
		}
		l.lock.Lock()
		g := l.open
		l.open = &group{buffer: l.spare[:0], done: make(chan struct{})}
		l.lock.Unlock()
		if _, err := l.file.Write(g.buffer); err != nil {
			g.err = err
		} else if err := syscall.Fdatasync(int(l.file.Fd())); err != nil {
			g.err = err
		}
		l.lock.Lock()
		l.spare = g.buffer
		if g.err != nil {
			l.failed = g.err
		}
		l.lock.Unlock()
		close(g.done)
	}
}
