import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { test } from "node:test";
import { withDatabase } from "../../test/support/database.ts";
import { openWriteAheadLog } from "./write-ahead-log.ts";

test("opening the log can be aborted while the connection is being made", { timeout: 20_000 }, () =>
  withDatabase(async ({ sql }) => {
    // Accepts a connection and reads it, and never answers what PostgreSQL would answer.
    const server = createServer((socket) => socket.resume());
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    try {
      const abort = new AbortController();
      const opening = openWriteAheadLog({
        url: `postgresql://postgres@127.0.0.1:${(server.address() as AddressInfo).port}/postgres`,
        sql,
        publication: "supabase_realtime_messages",
        onEntry: () => undefined,
        signal: abort.signal,
      });
      const refused = assert.rejects(opening, /The log was closed/);
      await once(server, "connection");
      abort.abort();
      await refused;
    } finally {
      server.close();
    }
  }),
);
