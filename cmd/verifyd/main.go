// SPDX-License-Identifier: Apache-2.0

// Verifyd is a site's verifier: it enrols rooms, appraises their evidence, and
// issues the certificates with which they meet.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"incamera/cmd/internal/supervise"
)

var version = "dev" // set when the binary is linked

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "verifyd:", err)
		os.Exit(1)
	}
}

// run is main without the process. It returns nil once ctx is done and all has
// stopped.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) > 0 && args[0] == "init" {
		return runInit(args[1:], stdout, stderr)
	}
	flags := flag.NewFlagSet("verifyd", flag.ContinueOnError)
	flags.SetOutput(stderr)
	path := flags.String("config", "/etc/in-camera/verifier.json", "`file` that says which site this is")
	show := flags.Bool("version", false, "print the version and end")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	if *show {
		_, err := fmt.Fprintln(stdout, "verifyd", version)
		return err
	}
	log := slog.New(slog.NewJSONHandler(stderr, nil))
	c, err := readConfig(*path)
	if err != nil {
		return err
	}
	s, err := openStore(ctx, c.Store)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }() // what was answered is committed
	v, cert, err := newService(c, s, log)
	if err != nil {
		return err
	}
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", c.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	log.Info("starting", "version", version, "site", v.authority.Site(), "address", ln.Addr().String())
	parts := []supervise.Part{
		{Name: "tidy", Run: func(ctx context.Context, ready func()) error { ready(); return v.run(ctx) }},
		{Name: "api", Run: func(ctx context.Context, ready func()) error {
			if ln == nil { // a second time: the first listener is closed
				if ln, err = (&net.ListenConfig{}).Listen(ctx, "tcp", c.Listen); err != nil {
					return err
				}
			}
			own := ln
			ln = nil
			ready()
			return serveAPI(ctx, own, v.handler(), cert, log)
		}},
	}
	return supervise.Run(ctx, log, supervise.Limits{}, parts...)
}

const (
	headerTimeout = 10 * time.Second // of the handshake, too
	readTimeout   = 30 * time.Second // 256 KiB over a slow line
	writeTimeout  = 30 * time.Second
	idleTimeout   = 2 * time.Minute
	drain         = 4 * time.Second // supervise waits 5
)

// serveAPI answers on ln, which it closes, until ctx is done and the requests
// under way have ended.
func serveAPI(ctx context.Context, ln net.Listener, api http.Handler, cert tls.Certificate, log *slog.Logger) error {
	web := &http.Server{
		Handler: api,
		TLSConfig: &tls.Config{
			MinVersion:   tls.VersionTLS13,
			Certificates: []tls.Certificate{cert},
			// Whose key it is, the handler finds out: see authenticate.
			ClientAuth:       tls.RequestClientCert,
			CurvePreferences: []tls.CurveID{tls.X25519MLKEM768, tls.SecP256r1MLKEM768, tls.SecP384r1MLKEM1024, tls.X25519, tls.CurveP256},
		},
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	ended := make(chan error, 1)
	go func() { ended <- web.ServeTLS(ln, "", "") }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	if err := web.Shutdown(bounded); err != nil {
		_ = web.Close() // what did not end in time
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return context.Cause(ctx)
}
