// SPDX-License-Identifier: Apache-2.0

// A client of ts-mls for the tests of media/mls/interop: see lines.mjs for the
// channel. Operations:
//
//   bench   times inside this process, for 10, 100 or 500 members: see bench.mjs

import { serve } from "./lines.mjs";
import { bench } from "./bench.mjs";

await serve({ bench });
