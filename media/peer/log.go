// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/pion/logging"
)

// A factory makes pion's loggers write to ours. Pion warns about what the
// network does all day and logs as errors what our own code reports with its
// context, so both are for developers; its lower levels are dropped.
type factory struct{ log *slog.Logger }

func newFactory(log *slog.Logger) factory {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return factory{log}
}

// NewLogger implements [logging.LoggerFactory].
func (f factory) NewLogger(scope string) logging.LeveledLogger {
	return leveled{f.log.With("scope", scope)}
}

type leveled struct{ log *slog.Logger }

func (l leveled) write(text string) { l.log.Debug("pion", "text", text) }

func (l leveled) writef(format string, args []any) {
	if l.log.Enabled(context.Background(), slog.LevelDebug) {
		l.write(fmt.Sprintf(format, args...))
	}
}

func (leveled) Trace(string)          {}
func (leveled) Tracef(string, ...any) {}
func (leveled) Debug(string)          {}
func (leveled) Debugf(string, ...any) {}
func (leveled) Info(string)           {}
func (leveled) Infof(string, ...any)  {}

func (l leveled) Warn(text string)                  { l.write(text) }
func (l leveled) Warnf(format string, args ...any)  { l.writef(format, args) }
func (l leveled) Error(text string)                 { l.write(text) }
func (l leveled) Errorf(format string, args ...any) { l.writef(format, args) }
