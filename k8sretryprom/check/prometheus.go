// SPDX-License-Identifier: Apache-2.0

package check

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
)

// scrapeInterval is the interval at which Prometheus scrapes and evaluates rules.
const scrapeInterval = time.Second

// Server is a Prometheus process.
type Server struct {
	v1.API
	From, To time.Time // of the scenario
}

// startPrometheus starts a Prometheus that scrapes target. With native, it stores the
// attempts as a native histogram only.
func startPrometheus(ctx context.Context, dir, rules, target string, native bool) (*Server, func(), error) {
	program, err := exec.LookPath("prometheus")
	if err != nil {
		return nil, nil, errors.New("prometheus is not in the PATH: apt-get install prometheus")
	}
	address, err := freeAddress()
	if err != nil {
		return nil, nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, nil, err
	}
	config := filepath.Join(dir, "prometheus.yaml")
	text := fmt.Sprintf("global: {scrape_interval: %[1]v, scrape_timeout: %[1]v, evaluation_interval: %[1]v}\nrule_files: [%[2]q]\n"+
		"scrape_configs: [{job_name: databases, static_configs: [{targets: [%[3]q]}]}]\n", scrapeInterval, rules, target)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		return nil, nil, err
	}
	arguments := []string{"--config.file=" + config, "--storage.tsdb.path=" + filepath.Join(dir, "data"), "--web.listen-address=" + address}
	if native {
		arguments = append(arguments, "--enable-feature=native-histograms")
	}
	var output bytes.Buffer
	stop, err := start(exec.Command(program, arguments...), &output)
	if err != nil {
		return nil, nil, err
	}
	client, err := api.NewClient(api.Config{Address: "http://" + address})
	if err != nil {
		stop()
		return nil, nil, err
	}
	s := &Server{API: v1.NewAPI(client)}
	if err := until(ctx, func() error { _, err := s.Buildinfo(ctx); return err }); err != nil {
		stop()
		return nil, nil, fmt.Errorf("prometheus: %w: %s", err, output.String())
	}
	return s, stop, nil
}

// freeAddress returns a local address that is not in use.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
