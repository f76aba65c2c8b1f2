import type { IncomingMessage, Server } from "node:http";
import type { Duplex } from "node:stream";
import { Hono } from "hono";
import { openPool } from "../../supabase/functions/_shared/database/pool.ts";
import { type WebSocket, WebSocketServer } from "ws";
import { refusal } from "../../supabase/functions/_shared/database/database.ts";
import { AppError } from "../../supabase/functions/_shared/errors/app-error.ts";
import { errorResponse, idOf } from "../../supabase/functions/_shared/http/bind.ts";
import { corsHeaders } from "../../supabase/functions/_shared/http/cors.ts";
import type { HostContext } from "../context.ts";
import { hostIdentifier } from "../identifier.ts";
import { createAccess } from "./access.ts";
import { createBroadcastApi } from "./broadcast-api.ts";
import { ClientSocket, limits, type SocketSurroundings } from "./channels.ts";
import { MessageStream } from "./message-stream.ts";
import { isProtocolVersion } from "./phoenix-frames.ts";
import { Topics } from "./topics.ts";

export interface RealtimeOptions {
  /** Polls even where the write-ahead log could be followed. */
  polling?: boolean;
  pollMilliseconds?: number;
  checkpointMilliseconds?: number;
  recheckMilliseconds?: number;
  silenceMilliseconds?: number;
}

export interface Realtime {
  /** What the socket's subscribers are told by; others of this process may listen too. */
  stream: Pick<MessageStream, "on" | "onLogMessage" | "isLive">;
  /** Routes relative to `/realtime/v1`. */
  app: Hono;
  /** Takes over upgrades to WebSocket. */
  attach(server: Server): void;
  start(): Promise<void>;
  stop(): Promise<void>;
}

const socketPath = "/realtime/v1/websocket";
const closingMilliseconds = 2_000;

/** What `@supabase/supabase-js` knows as realtime: broadcast, presence and private channels over a socket. */
export function createRealtime(context: HostContext, options: RealtimeOptions = {}): Realtime {
  const { log, databaseUrl } = context;
  // Its own few connections: a rush of joins must not take those of requests.
  const sql = openPool({
    url: databaseUrl,
    name: "darkroom-realtime",
    connections: 4,
    settings: { statement_timeout: "22000" },
  });
  const access = createAccess(sql, hostIdentifier(context), log);
  const topics = new Topics();
  const stream = new MessageStream({ sql, databaseUrl, log, ...options });
  const sockets = new Sockets({
    topics,
    access,
    log,
    recheckMilliseconds: options.recheckMilliseconds ?? 5 * 60_000,
  });
  const silenceMilliseconds = options.silenceMilliseconds ?? 60_000;
  let watch: NodeJS.Timeout | undefined;

  stream.on("", ({ topic, event, private: isPrivate, payload }) => {
    topics.broadcast({ name: topic, private: isPrivate }, { event, payload });
  });

  const app = new Hono();
  app.use("*", async (c, next) => {
    await next();
    for (const [name, value] of Object.entries(corsHeaders)) c.res.headers.set(name, value);
    c.res.headers.set("x-request-id", idOf(c.req.raw));
  });
  app.options("*", (c) => c.text("ok", 200, { "access-control-allow-methods": "GET, POST, OPTIONS" }));
  app.onError((error, c) => errorResponse(refusal(error), idOf(c.req.raw), "realtime", log));
  app.route("/", createBroadcastApi(sql, access));

  return {
    app,
    stream,
    attach: (server) => sockets.attach(server),
    async start() {
      await stream.start();
      watch = setInterval(() => sockets.closeSilent(silenceMilliseconds), silenceMilliseconds / 6);
      watch.unref();
    },
    async stop() {
      clearInterval(watch);
      await sockets.close();
      await stream.stop();
      await sql.end();
    },
  };
}

/** The open connections, and how one becomes open. */
class Sockets {
  readonly #open = new Map<ClientSocket, WebSocket>();
  // Frames are small, and compressing costs more memory for each socket than it saves traffic.
  readonly #server = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    maxPayload: limits.frameBytes,
    perMessageDeflate: false,
  });
  readonly #surroundings: SocketSurroundings;
  readonly #detach: (() => void)[] = [];
  #isClosing = false;

  constructor(surroundings: SocketSurroundings) {
    this.#surroundings = surroundings;
  }

  attach(server: Server): void {
    const listener = (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      // An aborted connection must not end the process, and is nothing to tell of.
      socket.on("error", () => socket.destroy());
      const url = urlOf(request);
      if (url?.pathname === socketPath) {
        this.#upgrade(url, request, socket, head).catch((error: unknown) => this.#refuse(socket, error));
      } else if (
        url === undefined ||
        url.pathname.startsWith("/realtime") ||
        server.listenerCount("upgrade") === 1
      ) {
        this.#refuse(socket, new AppError("not_found"));
      }
    };
    server.on("upgrade", listener);
    this.#detach.push(() => server.off("upgrade", listener));
  }

  closeSilent(milliseconds: number): void {
    const latest = performance.now() - milliseconds;
    for (const client of this.#open.keys()) if (client.heardAt < latest) client.close(1008, "no heartbeat");
  }

  async close(): Promise<void> {
    this.#isClosing = true;
    for (const detach of this.#detach) detach();
    const sockets = [...this.#open.values()];
    const closed = sockets.map((socket) => new Promise((resolve) => socket.once("close", resolve)));
    for (const client of this.#open.keys()) client.close(1001, "the server stops");
    const timer = setTimeout(() => {
      for (const socket of sockets) socket.terminate();
    }, closingMilliseconds);
    await Promise.all(closed);
    clearTimeout(timer);
  }

  async #upgrade(url: URL, request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const version = url.searchParams.get("vsn") ?? "2.0.0";
    const header = request.headers["apikey"];
    const apiKey = url.searchParams.get("apikey") ?? (typeof header === "string" ? header : undefined);
    if (apiKey === undefined) throw new AppError("unauthenticated");
    const caller = await this.#surroundings.access.identify({ apiKey });
    if (!isProtocolVersion(version)) throw new AppError("invalid_request", { versions: ["1.0.0", "2.0.0"] });
    if (this.#isClosing || socket.destroyed) {
      socket.destroy();
      return;
    }
    this.#server.handleUpgrade(request, socket, head, (opened) => {
      const client = new ClientSocket(opened, version, caller, this.#surroundings);
      this.#open.set(client, opened);
      opened.once("close", () => this.#open.delete(client));
    });
  }

  #refuse(socket: Duplex, error: unknown): void {
    const refused = error instanceof AppError ? error : new AppError("internal_error");
    if (refused !== error)
      this.#surroundings.log.error({ err: error }, "a realtime socket could not be opened");
    const body = JSON.stringify({ error: refused.code, message: refused.message, ...refused.details });
    socket.end(
      `HTTP/1.1 ${refused.status} ${refused.code}\r\ncontent-type: application/json\r\n` +
        `content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
    );
  }
}

function urlOf({ url = "/" }: IncomingMessage): URL | undefined {
  return URL.canParse(url, "http://host") ? new URL(url, "http://host") : undefined;
}
