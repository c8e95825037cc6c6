//go:build !race

package main

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
)

// startEtcd returns when etcd serves. The returned function stops it.
func startEtcd(s settings) (stop func(), err error) {
	// The peer port is never dialled by a cluster of one, so any will do.
	peer := url.URL{Scheme: "http", Host: "127.0.0.1:0"}
	client := url.URL{Scheme: "http", Host: fmt.Sprintf("127.0.0.1:%d", s.etcdPort)}

	cfg := embed.NewConfig()
	cfg.Dir = filepath.Join(s.dir, "etcd")
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	// What is stored must outlive a killed process, not a power cut.
	cfg.UnsafeNoFsync = true
	cfg.LogLevel = "warn"

	server, err := embed.StartEtcd(cfg)
	if err != nil {
		return nil, err
	}
	select {
	case <-server.Server.ReadyNotify():
		return server.Close, nil
	case err = <-server.Err():
	case <-time.After(30 * time.Second):
		err = errors.New("not ready after 30s")
	}
	server.Close()
	return nil, err
}
