// SPDX-License-Identifier: Apache-2.0

// Package peer carries sealed frames between this room and one other.
//
// A [Peer] is one pion PeerConnection: ICE, DTLS 1.2 and SRTP to one room, with
// three streams in each direction (audio, camera, content) that are negotiated
// once, at the start. It sends nothing but [e2ee.Sealed], which only a keyring
// can make, and it opens nothing: a received frame is handed over as it came
// from the wire. DTLS and SRTP hide headers from the network and are not
// trusted with what the rooms say.
//
// It knows no meeting, no MLS, no relay and no codec. Descriptions (SDP) are
// strings that the caller carries; their fingerprints are only as good as the
// channel that carried them.
//
// Pictures travel as RTP payloads of VP8 (RFC 7741), sound as those of Opus
// (RFC 7587). Lost packets of pictures are repaired by NACK (RFC 4585), those
// of sound are not. Congestion is estimated by GCC over transport-wide
// feedback.
package peer
