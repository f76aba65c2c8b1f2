import { once } from "node:events";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { Server as NetServer, type Socket } from "node:net";
import { setImmediate as afterPoll, setTimeout as pause } from "node:timers/promises";
import { createAdaptorServer } from "@hono/node-server";

export type Handler = (request: Request, bindings?: object) => Response | Promise<Response>;

/** Of a request's line and headers: a filter by a few hundred ids fits, as it does on Supabase. */
const maxHeaderSize = 64 * 1024;
/**
 * How long no new connection must have come before the listener closes, where the stop is announced: longer than
 * most clients pause between two requests. After the longest time it closes anyway.
 */
const quietMilliseconds = 100;
const longestHoldMilliseconds = 500;
/** Between the last look for new connections and the close: a connection that comes just then is lost. */
const unseenMilliseconds = 0.05;
const checkMilliseconds = 20;

/** A connection that was not upgraded. */
interface Connection {
  /** Requests without a complete answer. */
  requests: number;
  idleSince: number;
  /** When it became idle: more bytes than these mean that a request is arriving. */
  bytesRead: number;
}

/**
 * The HTTP server. It holds the port from the first moment and answers 503 until everything behind it is there.
 *
 * It stops without a torn request. First `announceStop()`: every answer says `connection: close`, so clients leave
 * one by one. Then `drain()`: it closes the listener, ends the requests under way, and closes a connection only
 * after it was idle for the whole delay.
 */
export class FrontDoor {
  readonly server: Server;
  handler: Handler | undefined;
  #isDraining = false;
  #isOpen = false;
  #released: Promise<void> | undefined;
  #lastConnection = 0;
  readonly #connections = new Map<Socket, Connection>();
  readonly #answers = new Set<ServerResponse>();
  readonly #delay: number;

  /** `delay`: how long the announcement comes before connections close, in milliseconds. */
  constructor({ delay = 0 }: { delay?: number } = {}) {
    this.#delay = delay;
    // Without TLS and HTTP/2 options, the server is plain HTTP.
    this.server = createAdaptorServer({
      fetch: (request, bindings) => this.#answer(request, bindings),
      serverOptions: { maxHeaderSize },
    }) as Server;
    // Longer than load balancers keep idle connections, so that it is never we who cut one being reused.
    this.server.keepAliveTimeout = 75_000;
    this.server.on("connection", (socket) => this.#watch(socket));
    // Before the handler, which may answer within this very event.
    this.server.prependListener("request", (request, response) => this.#begin(request, response));
    // The connection is not HTTP any more: the WebSocket server closes it.
    this.server.prependListener("upgrade", (_, socket) => this.#connections.delete(socket as Socket));
  }

  get port(): number {
    const address = this.server.address();
    if (address === null || typeof address === "string") throw new Error("The server does not listen.");
    return address.port;
  }

  /** Whether the stop was announced. */
  get draining(): boolean {
    return this.#isDraining;
  }

  async listen(port: number, hostname: string | undefined): Promise<void> {
    this.server.listen({ port, ...(hostname ? { host: hostname } : {}) });
    try {
      await once(this.server, "listening");
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === "EADDRINUSE") {
        throw new Error(
          `Port ${port} is taken: Darkroom may be running already (npm run status), else choose another by --port.`,
          { cause: error },
        );
      }
      throw error;
    }
  }

  open(): void {
    this.#isOpen = true;
  }

  /** Before there is anything to serve: every answer but that of `/health` says why there is not. */
  explain(obstacle: string): void {
    this.handler = (request) =>
      new URL(request.url).pathname === "/health"
        ? Response.json({ status: "ok" })
        : Response.json(
            { status: "not ready", error: "database_unavailable", reason: obstacle },
            { status: 503, headers: { "retry-after": "5" } },
          );
    this.#isOpen = true;
  }

  /** Everything is still served, and every answer says that its connection ends. Resolves after the delay. */
  async announceStop(signal?: AbortSignal): Promise<void> {
    this.#announce();
    // A start that failed has nobody to tell.
    if (this.#isOpen && this.#delay > 0) await this.#pause(this.#delay, signal);
  }

  /** Takes no new connections and lets requests end; those that still run when the signal comes are cut. */
  async drain(signal?: AbortSignal): Promise<void> {
    this.#announce();
    await this.#closeListener();
    for (;;) {
      this.#closeIdle();
      if (this.#connections.size === 0 || signal?.aborted) break;
      await this.#pause(checkMilliseconds, signal);
    }
    this.server.closeAllConnections();
  }

  /** Closes at once whatever is open. */
  async close(): Promise<void> {
    this.#announce();
    const closed = once(this.server, "close");
    this.server.close();
    this.server.closeAllConnections();
    await closed;
  }

  async #answer(request: Request, bindings: object | undefined): Promise<Response> {
    if (!this.#isOpen || !this.handler)
      return Response.json({ error: "starting" }, { status: 503, headers: { "retry-after": "1" } });
    const response = await this.handler(request, bindings);
    if (this.#released) await this.#released;
    return response;
  }

  #watch(socket: Socket): void {
    this.#lastConnection = performance.now();
    this.#connections.set(socket, { requests: 0, idleSince: this.#lastConnection, bytesRead: 0 });
    socket.once("close", () => this.#connections.delete(socket));
  }

  #begin({ socket }: IncomingMessage, response: ServerResponse): void {
    const connection = this.#connections.get(socket);
    if (connection) connection.requests++;
    this.#answers.add(response);
    if (this.#isDraining) response.setHeader("connection", "close");
    response.once("close", () => {
      this.#answers.delete(response);
      if (!connection) return;
      connection.requests--;
      connection.idleSince = performance.now();
      connection.bytesRead = socket.bytesRead;
    });
  }

  #announce(): void {
    if (this.#isDraining) return;
    this.#isDraining = true;
    for (const response of this.#answers)
      if (!response.headersSent) response.setHeader("connection", "close");
  }

  /**
   * The system resets connections that it made and we have not accepted. So answers are held back until the listener
   * is closed: clients that wait for an answer open no connection meanwhile.
   */
  async #closeListener(): Promise<void> {
    let release: (() => void) | undefined;
    this.#released = new Promise((resolve) => (release = resolve));
    const quiet = this.#delay > 0 ? quietMilliseconds : checkMilliseconds;
    const begun = performance.now();
    let now: number;
    do {
      await pause(checkMilliseconds);
      now = performance.now();
    } while (now - this.#lastConnection < quiet && now - begun < longestHoldMilliseconds);

    await justAfterAccept();
    // Not the HTTP server's own close(): that cuts idle connections, which clients may be about to use.
    NetServer.prototype.close.call(this.server);
    release?.();
  }

  #closeIdle(): void {
    const idleBefore = performance.now() - this.#delay;
    for (const [socket, { requests, idleSince, bytesRead }] of this.#connections) {
      if (requests === 0 && idleSince <= idleBefore && socket.bytesRead === bytesRead) socket.destroySoon();
    }
  }

  async #pause(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
    // An aborted pause only ends early.
    await pause(milliseconds, undefined, signal ? { signal } : {}).catch((error: unknown) => {
      if (!signal?.aborted) throw error;
    });
  }
}

/**
 * Resolves when new connections were accepted a moment ago. Each turn of the event loop accepts what has come, and
 * then runs this; a turn that did anything else, or lost the processor, takes longer. A busy process has to do with
 * less: the longer this takes, the longer a turn may be.
 */
async function justAfterAccept(): Promise<void> {
  const begun = performance.now();
  for (let turn = begun; ;) {
    await afterPoll();
    const now = performance.now();
    if (now - turn <= Math.max(unseenMilliseconds, (now - begun) / 200)) return;
    turn = now;
  }
}
