// SPDX-License-Identifier: Apache-2.0

//go:build !race

package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register" // --logging-format=json
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
)

// runAPIServer runs the apiserver until it ends, after a signal or because it cannot
// start.
func runAPIServer(s settings) error {
	key, err := serviceAccountKey(s.dir)
	if err != nil {
		return fmt.Errorf("service account key: %w", err)
	}
	tokens, admin, err := tokenFile(s)
	if err != nil {
		return fmt.Errorf("token file: %w", err)
	}
	certs := filepath.Join(s.dir, "certs")
	if admin != "" {
		if err := writeKubeconfig(s, filepath.Join(certs, "apiserver.crt"), admin); err != nil {
			return fmt.Errorf("kubeconfig: %w", err)
		}
	}

	// An Endpoints object must not contain a loopback address, so the endpoint reconciler
	// is disabled.
	args := []string{
		"--etcd-servers=http://127.0.0.1:" + strconv.Itoa(s.etcdPort),
		"--bind-address=127.0.0.1",
		"--advertise-address=127.0.0.1",
		"--secure-port=" + strconv.Itoa(s.port),
		"--endpoint-reconciler-type=none",
		"--cert-dir=" + certs,
		"--token-auth-file=" + tokens,
		"--anonymous-auth=false",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + key,
		"--service-account-signing-key-file=" + key,
		"--service-cluster-ip-range=10.0.0.0/24",
		"--authorization-mode=AlwaysAllow",
		// No controller creates service accounts, which pods would need.
		"--disable-admission-plugins=ServiceAccount",
		"--profiling=false",
	}
	command := app.NewAPIServerCommand()
	command.SetArgs(overlay(args, s.extra))
	if code := cli.Run(command); code != 0 {
		return fmt.Errorf("kube-apiserver ended with code %d", code)
	}
	return nil
}

// overlay returns args and extra, without the flags of args that extra also sets, because
// flags with lists would be combined.
func overlay(args, extra []string) []string {
	name := func(arg string) string {
		before, _, _ := strings.Cut(arg, "=")
		return before
	}
	kept := slices.DeleteFunc(slices.Clone(args), func(arg string) bool {
		return slices.ContainsFunc(extra, func(e string) bool { return name(e) == name(arg) })
	})
	return append(kept, extra...)
}
