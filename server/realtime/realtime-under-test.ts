import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { setTimeout as pause } from "node:timers/promises";
import { createAdaptorServer } from "@hono/node-server";
import { createClient, type RealtimeChannel, type SupabaseClient } from "@supabase/supabase-js";
import { Hono } from "hono";
import { SignJWT } from "jose";
import { pino } from "pino";
import { WebSocket } from "ws";
import type { DatabaseUnderTest } from "../../test/support/database.ts";
import type { HostContext } from "../context.ts";
import { deriveKeys } from "../keys.ts";
import { createRealtime, type Realtime, type RealtimeOptions } from "./realtime.ts";

export interface RealtimeUnderTest {
  url: string;
  context: HostContext;
  realtime: Realtime;
  server: Server;
  /** What was logged at the level of warnings and above. */
  warnings: string[];
  /** A browser's client, with nobody signed in. */
  client(options?: { key?: string; version?: "1.0.0" | "2.0.0" }): SupabaseClient;
  /** That of a user who signed in. */
  clientOf(userId: string): Promise<SupabaseClient>;
  token(userId: string, secondsToLive?: number): Promise<string>;
  /** A connection without a library, for frames that no library sends. */
  rawSocket(query?: string): Promise<RawSocket>;
}

export interface RawSocket {
  socket: WebSocket;
  send(frame: unknown): void;
  /** The next frame that came, parsed; fails when none comes. */
  next(): Promise<unknown>;
  closed: Promise<number>;
}

/** Serves realtime on a database, with everything closed at the end. */
export async function withRealtime<Result>(
  database: DatabaseUnderTest,
  use: (subject: RealtimeUnderTest) => Promise<Result>,
  options: RealtimeOptions = {},
): Promise<Result> {
  const warnings: string[] = [];
  const log = pino({ level: "warn" }, { write: (line: string) => void warnings.push(line) });
  const app = new Hono();
  const server = createAdaptorServer({ fetch: app.fetch }) as ReturnType<typeof createServer>;
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("The server does not listen.");
  const url = `http://127.0.0.1:${address.port}`;
  const keys = await deriveKeys("a secret that is long enough for a test", {});
  const { sql, url: databaseUrl } = database;
  const context: HostContext = {
    apiUrl: url,
    keys,
    sql,
    databaseUrl,
    storageDirectory: "",
    checkAnswers: false,
    log,
  };
  const realtime = createRealtime(context, options);
  app.route("/realtime/v1", realtime.app);
  realtime.attach(server);
  await realtime.start();

  const clients: SupabaseClient[] = [];

  function connect(key: string, version: "1.0.0" | "2.0.0", accessToken?: string): SupabaseClient {
    const created = createClient(url, key, {
      auth: { persistSession: false, autoRefreshToken: false },
      // The types name the browser's socket; that of `ws` is used in the same way.
      realtime: { transport: WebSocket as never, vsn: version },
      ...(accessToken === undefined ? {} : { accessToken: () => Promise.resolve(accessToken) }),
    });
    clients.push(created);
    return created;
  }

  async function token(userId: string, secondsToLive = 600): Promise<string> {
    return await new SignJWT({ role: "authenticated" })
      .setProtectedHeader({ alg: "HS256" })
      .setIssuer(`${url}/auth/v1`)
      .setAudience("authenticated")
      .setSubject(userId)
      .setExpirationTime(Math.floor(Date.now() / 1000) + secondsToLive)
      .sign(new TextEncoder().encode(keys.jwtSecret));
  }

  const sockets: WebSocket[] = [];
  try {
    return await use({
      url,
      context,
      realtime,
      server,
      warnings,
      client: ({ key = keys.publishableKey, version = "2.0.0" } = {}) => connect(key, version),
      async clientOf(userId) {
        const created = connect(keys.publishableKey, "2.0.0", await token(userId));
        // Else the first channel may be joined before the client has asked for its token.
        await created.realtime.setAuth();
        return created;
      },
      token,
      async rawSocket(query = `apikey=${keys.publishableKey}&vsn=2.0.0`) {
        const socket = new WebSocket(`${url.replace("http", "ws")}/realtime/v1/websocket?${query}`);
        sockets.push(socket);
        return await openRaw(socket);
      },
    });
  } finally {
    await Promise.all(clients.map((client) => client.realtime.disconnect()));
    for (const socket of sockets) socket.terminate();
    await realtime.stop();
    server.close();
    server.closeAllConnections();
  }
}

async function openRaw(socket: WebSocket): Promise<RawSocket> {
  const frames: unknown[] = [];
  const closed = new Promise<number>((resolve) => socket.once("close", resolve));
  socket.on("message", (data: Buffer, isBinary: boolean) => {
    frames.push(isBinary ? data : (JSON.parse(data.toString("utf8")) as unknown));
  });
  await once(socket, "open");
  return {
    socket,
    closed,
    send: (frame) => {
      socket.send(frame instanceof Uint8Array || typeof frame === "string" ? frame : JSON.stringify(frame));
    },
    async next() {
      await eventually(() => frames.length > 0, "a frame comes");
      return frames.shift();
    },
  };
}

/** Resolves when the channel is joined; fails with the server's reason. */
export function subscribed(channel: RealtimeChannel): Promise<RealtimeChannel> {
  return new Promise((resolve, reject) => {
    channel.subscribe((status, error) => {
      if (status === "SUBSCRIBED") resolve(channel);
      else if (status !== "CLOSED") reject(error ?? new Error(status));
    });
  });
}

export interface Heard {
  event: string;
  payload: unknown;
}

/** Every broadcast that reaches the channel from now on. */
export function listen(channel: RealtimeChannel): Heard[] {
  const heard: Heard[] = [];
  channel.on("broadcast", { event: "*" }, ({ event, payload }: Heard) => heard.push({ event, payload }));
  return heard;
}

/** Waits for what will happen, and fails where it does not. */
export async function eventually(
  condition: () => boolean,
  what: string,
  milliseconds = 8_000,
): Promise<void> {
  const deadline = Date.now() + milliseconds;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`It did not happen that ${what}.`);
    await pause(5);
  }
}
