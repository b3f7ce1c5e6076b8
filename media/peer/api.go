// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/cc"
	"github.com/pion/interceptor/pkg/gcc"
	"github.com/pion/interceptor/pkg/nack"
	"github.com/pion/interceptor/pkg/report"
	"github.com/pion/interceptor/pkg/twcc"
	"github.com/pion/transport/v5"
	"github.com/pion/webrtc/v4"
)

// Times and sizes of the connection.
const (
	// keepAlive is how often ICE speaks on an idle pair. With lostAfter it
	// bounds how long a dead peer goes unnoticed: 2.4 s.
	keepAlive = 400 * time.Millisecond
	// lostAfter is the silence after which a connection counts as lost. Media
	// and feedback break the silence too.
	lostAfter = 2 * time.Second
	// failedAfter is how long a lost connection may still come back by itself;
	// after it only Restart helps. A switch that restarts takes less.
	failedAfter = 30 * time.Second
	// handshakeStep is when DTLS repeats a flight: its default of 1 s would be
	// half of what a join may take.
	handshakeStep = 100 * time.Millisecond
	// handshakeLimit bounds the handshake with a peer that stops talking.
	handshakeLimit = 15 * time.Second
	// nackInterval is how often missing packets are asked for.
	nackInterval = 20 * time.Millisecond
	// replayWindow, in packets, must take in what NACK repairs. The default of
	// 64 is less than one large key frame, and what falls out of the window
	// would be lost twice.
	replayWindow = 1024
	// receiveMTU is the longest packet that is read.
	receiveMTU = 1500
)

// The payload types of the only two codecs.
const (
	typeVP8  = 96
	typeOpus = 111
)

var (
	capabilityVP8  = webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: rateVP8}
	capabilityOpus = webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: rateOpus, Channels: 2}
)

// Options says how the peers of a process reach the network. The zero value is
// what an appliance uses: all interfaces of the LAN, the system's sockets.
type Options struct {
	// Loopback restricts peers to the loopback interface, for tests and for
	// the room's test of itself.
	Loopback bool
	// Interface, if not nil, says which network interfaces to use, by name. It
	// is not asked with Loopback.
	Interface func(name string) bool
	// Net, if not nil, replaces the system's sockets: a virtual network, or a
	// wrapper that loses or records datagrams.
	Net transport.Net
	// SRTPProfiles, if not empty, replaces the one profile of the product.
	// Tests that look for plaintext on the wire give
	// dtls.SRTP_NULL_HMAC_SHA1_80 at both ends, so that nothing but the seal
	// hides a frame.
	SRTPProfiles []dtls.SRTPProtectionProfile
	// Log takes what pion has to say. The default is silent.
	Log *slog.Logger
}

// profiles is the SRTP profile of the product. AES-GCM is refused on purpose:
// NACK repeats a packet under its old number with a new transport-wide number
// in its header, which under GCM is one nonce for two messages (RFC 7714,
// Section 8.4) and gives the authentication key away. Counter mode repeats the
// same ciphertext and HMAC has no nonce (RFC 3711, Section 9.1).
var profiles = []dtls.SRTPProtectionProfile{dtls.SRTP_AES128_CM_HMAC_SHA1_80}

// An API makes the peers of one process. It is safe for concurrent use.
type API struct {
	web *webrtc.API

	mu        sync.Mutex // held while a connection is made, so estimator is its own
	estimator cc.BandwidthEstimator
}

// NewAPI checks the options and makes an API. It opens nothing.
func NewAPI(o Options) (*API, error) {
	a := &API{}
	media := &webrtc.MediaEngine{}
	if err := registerCodecs(media); err != nil {
		return nil, fmt.Errorf("peer: codecs: %w", err)
	}
	chain := &interceptor.Registry{}
	if err := a.registerInterceptors(media, chain, newFactory(o.Log)); err != nil {
		return nil, fmt.Errorf("peer: interceptors: %w", err)
	}
	settings := settingEngine(o)
	a.web = webrtc.NewAPI(
		webrtc.WithMediaEngine(media),
		webrtc.WithInterceptorRegistry(chain),
		webrtc.WithSettingEngine(settings),
	)
	return a, nil
}

func registerCodecs(m *webrtc.MediaEngine) error {
	if err := m.RegisterCodec(webrtc.RTPCodecParameters{
		RTPCodecCapability: capabilityVP8, PayloadType: typeVP8,
	}, webrtc.RTPCodecTypeVideo); err != nil {
		return err
	}
	return m.RegisterCodec(webrtc.RTPCodecParameters{
		RTPCodecCapability: capabilityOpus, PayloadType: typeOpus,
	}, webrtc.RTPCodecTypeAudio)
}

// registerInterceptors adds the parts in the order from the network inwards:
// the estimator must see the transport-wide number, and what the responder
// repeats must get a new one.
func (a *API) registerInterceptors(m *webrtc.MediaEngine, chain *interceptor.Registry, log factory) error {
	estimator, err := cc.NewInterceptor(func() (cc.BandwidthEstimator, error) {
		return gcc.NewSendSideBWE(
			gcc.SendSideBWEInitialBitrate(initialTarget),
			gcc.SendSideBWEMinBitrate(minTarget),
			gcc.SendSideBWEMaxBitrate(maxTarget),
			gcc.SendSideBWEPacer(gcc.NewNoOpPacer()), // pacer.go paces
			gcc.WithLoggerFactory(log),
		)
	})
	if err != nil {
		return err
	}
	estimator.OnNewPeerConnection(func(_ string, e cc.BandwidthEstimator) { a.estimator = e })
	chain.Add(estimator)
	if err := webrtc.ConfigureTWCCHeaderExtensionSender(m, chain); err != nil {
		return err
	}
	if err := webrtc.ConfigureNackWithOptions(m, chain,
		[]nack.GeneratorOption{nack.GeneratorInterval(nackInterval), nack.WithGeneratorLoggerFactory(log)},
		nack.WithResponderLoggerFactory(log)); err != nil {
		return err
	}
	m.RegisterFeedback(webrtc.RTCPFeedback{Type: "ccm", Parameter: "fir"}, webrtc.RTPCodecTypeVideo)
	if err := webrtc.ConfigureRTCPReportsWithOptions(chain,
		[]report.ReceiverOption{report.WithReceiverLoggerFactory(log)},
		report.WithSenderLoggerFactory(log)); err != nil {
		return err
	}
	return webrtc.ConfigureTWCCSenderWithOptions(m, chain, twcc.WithLoggerFactory(log))
}

func settingEngine(o Options) webrtc.SettingEngine {
	var s webrtc.SettingEngine
	s.LoggerFactory = newFactory(o.Log)
	s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4, webrtc.NetworkTypeUDP6})
	s.DisableActiveTCP(true)
	// mDNS would hide addresses that the rooms of a site may know, and costs a
	// multicast round trip in each join.
	s.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	s.SetICETimeouts(lostAfter, failedAfter, keepAlive)
	s.SetHostAcceptanceMinWait(0)
	s.SetPrflxAcceptanceMinWait(0)
	s.SetDTLSRetransmissionInterval(handshakeStep)
	// ICE has just proved that the peer is where it says it is.
	s.SetDTLSInsecureSkipHelloVerify(true)
	s.SetDTLSConnectContextMaker(func() (context.Context, func()) {
		return context.WithTimeout(context.Background(), handshakeLimit)
	})
	s.SetSRTPReplayProtectionWindow(replayWindow)
	s.SetReceiveMTU(receiveMTU)
	// A track that exists only once its first packet came would miss RTCP.
	s.SetFireOnTrackBeforeFirstRTP(true)
	s.SetSRTPProtectionProfiles(profiles...)
	if len(o.SRTPProfiles) > 0 {
		s.SetSRTPProtectionProfiles(o.SRTPProfiles...)
	}
	if o.Loopback {
		s.SetIncludeLoopbackCandidate(true)
		s.SetIPFilter(net.IP.IsLoopback)
		s.SetInterfaceFilter(isLoopback)
	} else if o.Interface != nil {
		s.SetInterfaceFilter(o.Interface)
	}
	if o.Net != nil {
		s.SetNet(o.Net)
	}
	return s
}

func isLoopback(name string) bool {
	i, err := net.InterfaceByName(name)
	return err == nil && i.Flags&net.FlagLoopback != 0
}

// connect makes a connection and the estimator that belongs to it. ICE gets no
// server: rooms of one site reach each other by their own addresses.
func (a *API) connect() (*webrtc.PeerConnection, cc.BandwidthEstimator, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	pc, err := a.web.NewPeerConnection(webrtc.Configuration{
		BundlePolicy:  webrtc.BundlePolicyMaxBundle,
		RTCPMuxPolicy: webrtc.RTCPMuxPolicyRequire,
	})
	if err != nil {
		return nil, nil, fmt.Errorf("peer: connection: %w", err)
	}
	return pc, a.estimator, nil
}
