// SPDX-License-Identifier: Apache-2.0

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

// startEtcd starts etcd and waits until it serves. stop stops it.
func startEtcd(s settings) (stop func(), err error) {
	// A cluster of one never dials the peer port, so any port is fine.
	peer := url.URL{Scheme: "http", Host: "127.0.0.1:0"}
	client := url.URL{Scheme: "http", Host: fmt.Sprintf("127.0.0.1:%d", s.etcdPort)}

	cfg := embed.NewConfig()
	cfg.Dir = filepath.Join(s.dir, "etcd")
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	// The data must survive a killed process, but not a power failure.
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
