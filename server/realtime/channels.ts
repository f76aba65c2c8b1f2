import { randomUUID } from "node:crypto";
import type { Logger } from "pino";
import { WebSocket } from "ws";
import { AppError } from "../../supabase/functions/_shared/errors/app-error.ts";
import type { Access, Caller, Extension } from "./access.ts";
import {
  type BroadcastContent,
  type ClientFrame,
  decodeFrame,
  encodeMessage,
  isRecord,
  MalformedFrame,
  type ProtocolVersion,
  type ServerMessage,
} from "./phoenix-frames.ts";
import { RateWindow } from "./rate-window.ts";
import type { Subscriber, TopicName, Topics } from "./topics.ts";

export const limits = {
  frameBytes: 1024 * 1024,
  bufferedBytes: 4 * 1024 * 1024,
  channels: 100,
  joinsPerSecond: 100,
  broadcastsPerSecond: 100,
  presenceCalls: 20,
  presenceMilliseconds: 30_000,
  presenceBytes: 16 * 1024,
  topicBytes: 255,
} as const;

export interface SocketSurroundings {
  topics: Topics;
  access: Access;
  log: Logger;
  /** Longest time between two looks at a channel's token and its rights. */
  recheckMilliseconds: number;
}

const topicPrefix = "realtime:";
const retryMilliseconds = 5_000;

/** Refused, for a reason that the client is told. */
class Denied extends Error {
  override readonly name = "Denied";
}

type Message = Extract<ClientFrame, { kind: "message" }>;
type Broadcast = Extract<ClientFrame, { kind: "broadcast" }>;

/** One connection: reads frames, and keeps the channels that were joined over it. */
export class ClientSocket {
  readonly version: ProtocolVersion;
  /** Whom the key of the connection stands for; a channel may bring a token of its own. */
  readonly caller: Caller;
  readonly surroundings: SocketSurroundings;
  heardAt = performance.now();
  readonly #socket: WebSocket;
  readonly #channels = new Map<string, Channel>();
  readonly #joins = new RateWindow(limits.joinsPerSecond, 1000);
  readonly #broadcasts = new RateWindow(limits.broadcastsPerSecond, 1000);

  constructor(socket: WebSocket, version: ProtocolVersion, caller: Caller, surroundings: SocketSurroundings) {
    this.#socket = socket;
    this.version = version;
    this.caller = caller;
    this.surroundings = surroundings;
    socket.on("message", (data, isBinary) => {
      // Whole buffers are what `ws` gives unless it is asked for something else.
      this.#receive(data as Buffer, isBinary).catch((error: unknown) => this.#fail(error));
    });
    socket.on("close", () => this.#leaveAll());
    // The socket closes by itself after an error, which is the sender's: too large a frame, or a broken one.
    socket.on("error", (error) => surroundings.log.debug({ err: error }, "a realtime socket failed"));
  }

  send(frame: string | Buffer): void {
    if (this.#socket.readyState !== WebSocket.OPEN) return;
    if (this.#socket.bufferedAmount > limits.bufferedBytes) {
      // Nothing would reach it in time, so not even a reason is sent.
      this.surroundings.log.warn(
        { buffered: this.#socket.bufferedAmount },
        "closing a realtime socket that is too slow",
      );
      this.#socket.terminate();
      return;
    }
    this.#socket.send(frame);
  }

  push(message: ServerMessage): void {
    this.send(encodeMessage(this.version, message));
  }

  reply({ joinRef, ref, topic }: ClientFrame, status: "ok" | "error", response: object = {}): void {
    this.push({ joinRef, ref, topic, event: "phx_reply", payload: { status, response } });
  }

  forget(channel: Channel): void {
    if (this.#channels.get(channel.topic) === channel) this.#channels.delete(channel.topic);
  }

  close(code: number, reason: string): void {
    this.#socket.close(code, reason);
  }

  terminate(): void {
    this.#socket.terminate();
  }

  async #receive(data: Buffer, isBinary: boolean): Promise<void> {
    this.heardAt = performance.now();
    const frame = decodeFrame(data, isBinary, this.version);
    if (frame.topic === "phoenix") {
      if (frame.kind === "message" && frame.event === "heartbeat") this.reply(frame, "ok");
      return;
    }
    if (frame.kind === "message" && frame.event === "phx_join") return await this.#join(frame);

    const channel = this.#channels.get(frame.topic);
    if (!channel) {
      const isLeaving = frame.kind === "message" && frame.event === "phx_leave";
      this.reply(frame, isLeaving ? "ok" : "error", isLeaving ? {} : { reason: "unmatched topic" });
      return;
    }
    // Meant for an earlier channel of this topic, which is closed.
    if (frame.joinRef !== null && frame.joinRef !== channel.joinRef) return;
    if (frame.kind === "broadcast") {
      if (this.#broadcasts.take()) await channel.broadcast(frame);
      else this.reply(frame, "error", { reason: "Too many messages per second" });
      return;
    }
    await channel.receive(frame);
  }

  async #join(frame: Message): Promise<void> {
    const before = this.#channels.get(frame.topic);
    const config = isRecord(frame.payload["config"]) ? frame.payload["config"] : {};
    const obstacle = this.#obstacleToJoin(frame.topic, config, before !== undefined);
    if (obstacle !== undefined) {
      this.reply(frame, "error", { reason: obstacle });
      return;
    }
    before?.close();
    const channel = new Channel(this, frame, config);
    this.#channels.set(frame.topic, channel);
    await channel.open(frame);
  }

  #obstacleToJoin(topic: string, config: Record<string, unknown>, isAgain: boolean): string | undefined {
    if (!this.#joins.take()) return "ClientJoinRateLimitReached: Too many joins per second";
    if (!topic.startsWith(topicPrefix)) return "unmatched topic";
    const name = topic.slice(topicPrefix.length);
    if (name === "") return "TopicNameRequired: You must provide a topic name";
    // PostgreSQL has no text with a zero in it.
    if (Buffer.byteLength(name) > limits.topicBytes || name.includes("\0")) {
      return `InvalidTopicName: A topic name has at most ${limits.topicBytes} bytes, none of them zero`;
    }
    if (!isAgain && this.#channels.size >= limits.channels)
      return "ChannelRateLimitReached: Too many channels";
    const changes = config["postgres_changes"];
    if (Array.isArray(changes) && changes.length > 0) {
      return "PostgresChangesUnavailable: This server does not send postgres_changes yet; listen to broadcasts instead";
    }
    return undefined;
  }

  #leaveAll(): void {
    for (const channel of this.#channels.values()) channel.close();
  }

  #fail(error: unknown): void {
    if (error instanceof MalformedFrame) {
      this.close(1007, error.message);
      return;
    }
    this.surroundings.log.error({ err: error }, "a realtime frame could not be handled");
    this.close(1011, "internal error");
  }
}

/** One topic that a socket has joined. */
class Channel implements Subscriber {
  readonly topic: string;
  readonly joinRef: string | null;
  readonly version: ProtocolVersion;
  hearsBroadcasts = false;
  hearsPresence = false;
  readonly #socket: ClientSocket;
  readonly #name: TopicName;
  readonly #acknowledges: boolean;
  readonly #hearsItself: boolean;
  readonly #presenceKey: string;
  readonly #presenceCalls = new RateWindow(limits.presenceCalls, limits.presenceMilliseconds);
  #wantsPresence: boolean;
  #tracked: string | undefined;
  #state: "joining" | "joined" | "closed" = "joining";
  #token: string | undefined;
  #caller: Caller;
  #readable: ReadonlySet<Extension> = new Set();
  #writable = new Map<Extension, Promise<boolean>>();
  #isAdmitting = false;
  #isOutdated = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(socket: ClientSocket, { topic, joinRef, payload }: Message, config: Record<string, unknown>) {
    const broadcast = isRecord(config["broadcast"]) ? config["broadcast"] : {};
    const presence = isRecord(config["presence"]) ? config["presence"] : {};
    const key = presence["key"];
    this.#socket = socket;
    this.version = socket.version;
    this.topic = topic;
    this.joinRef = joinRef;
    this.#name = { name: topic.slice(topicPrefix.length), private: config["private"] === true };
    this.#acknowledges = broadcast["ack"] === true;
    this.#hearsItself = broadcast["self"] === true;
    this.#wantsPresence = presence["enabled"] === true;
    this.#presenceKey = typeof key === "string" && key !== "" ? key : randomUUID();
    this.#token = readToken(payload["access_token"]);
    this.#caller = socket.caller;
  }

  async open(join: Message): Promise<void> {
    try {
      await this.#admit();
    } catch (error) {
      if (this.#isClosed()) return;
      this.#end();
      this.#socket.reply(join, "error", { reason: this.#reasonOf(error) });
      return;
    }
    // The client may have left, or be gone, before it was let in.
    if (this.#isClosed()) return;
    this.#state = "joined";
    this.#socket.surroundings.topics.add(this.#name, this);
    this.#socket.reply(join, "ok", { postgres_changes: [] });
    this.#pushPresence();
    this.#scheduleRecheck();
    if (this.#isOutdated) await this.#readmit();
  }

  send(frame: string | Buffer): void {
    this.#socket.send(frame);
  }

  async broadcast(frame: Broadcast): Promise<void> {
    if (this.#state !== "joined") return this.#socket.reply(frame, "error", { reason: "not joined" });
    if (this.#name.private) {
      const refusal = await this.#refusalToWrite("broadcast");
      if (refusal !== undefined) return this.#socket.reply(frame, "error", { reason: refusal });
    }
    this.#relay(frame.content);
    if (this.#acknowledges) this.#socket.reply(frame, "ok");
  }

  async receive(frame: Message): Promise<void> {
    switch (frame.event) {
      case "phx_leave":
        this.#socket.reply(frame, "ok");
        this.close();
        return;
      case "access_token":
        return await this.#changeToken(frame.payload["access_token"]);
      case "presence":
        return await this.#changePresence(frame);
      default:
        this.#socket.reply(frame, "error", { reason: `unknown event` });
    }
  }

  close(): void {
    if (this.#isClosed()) return;
    this.#end();
    this.#socket.push({
      joinRef: this.joinRef,
      ref: this.joinRef,
      topic: this.topic,
      event: "phx_close",
      payload: {},
    });
  }

  #relay(content: BroadcastContent): void {
    const { topics } = this.#socket.surroundings;
    topics.broadcast(this.#name, content, this.#hearsItself ? undefined : this);
  }

  async #changePresence(frame: Message): Promise<void> {
    const { topics } = this.#socket.surroundings;
    if (this.#state !== "joined") return this.#socket.reply(frame, "error", { reason: "not joined" });
    if (!this.#presenceCalls.take()) {
      return this.#socket.reply(frame, "error", { reason: "Client presence rate limit exceeded" });
    }
    const { event, payload = {} } = frame.payload;
    if (event === "untrack") {
      this.#tracked = undefined;
      topics.untrack(this.#name, this.#presenceKey, this);
      return this.#socket.reply(frame, "ok");
    }
    if (event !== "track") return this.#socket.reply(frame, "error", { reason: "unknown presence event" });
    if (!isRecord(payload)) {
      return this.#socket.reply(frame, "error", { reason: "Presence track payload must be a map" });
    }
    const text = JSON.stringify(payload);
    if (text.length > limits.presenceBytes) {
      return this.#socket.reply(frame, "error", { reason: "Track message size exceeded" });
    }
    if (this.#name.private) {
      const refusal = await this.#refusalToWrite("presence");
      if (refusal !== undefined) return this.#socket.reply(frame, "error", { reason: refusal });
      if (this.#isClosed()) return;
    }
    if (!this.#wantsPresence) {
      // Whoever shows themselves sees the others.
      this.#wantsPresence = true;
      this.#updateHearing();
      this.#pushPresence();
    }
    if (text !== this.#tracked) topics.track(this.#name, this.#presenceKey, this, payload);
    this.#tracked = text;
    this.#socket.reply(frame, "ok");
  }

  #pushPresence(): void {
    if (!this.hearsPresence) return;
    const payload = this.#socket.surroundings.topics.presence(this.#name);
    this.#socket.push({ topic: this.topic, event: "presence_state", payload });
  }

  async #changeToken(given: unknown): Promise<void> {
    const token = readToken(given);
    if (token === undefined || token === this.#token) return;
    this.#token = token;
    this.#isOutdated = true;
    if (this.#state === "joined") await this.#readmit();
  }

  /** Looks again at what the token allows, one look at a time; of tokens that come meanwhile the last counts. */
  async #readmit(): Promise<void> {
    if (this.#isAdmitting) return;
    this.#isAdmitting = true;
    try {
      do {
        this.#isOutdated = false;
        await this.#admit();
      } while (this.#isOutdated && !this.#isClosed());
      this.#scheduleRecheck();
    } catch (error) {
      if (this.#isClosed()) return;
      if (error instanceof Denied) this.#shutDown(error.message);
      else {
        // Neither a reason to cut somebody off, nor to forget to look.
        this.#reasonOf(error);
        this.#scheduleRecheck(retryMilliseconds);
      }
    } finally {
      this.#isAdmitting = false;
    }
  }

  /** Who the caller is, and what of a private topic they may read. @throws Denied */
  async #admit(): Promise<void> {
    const { access } = this.#socket.surroundings;
    const { name, private: isPrivate } = this.#name;
    let caller = this.#socket.caller;
    if (this.#token !== undefined) {
      try {
        caller = await access.identify({ token: this.#token });
      } catch (error) {
        if (!(error instanceof AppError && error.code === "unauthenticated")) throw error;
        throw new Denied("InvalidJWTToken: The token is not valid or has expired", { cause: error });
      }
    }
    const readable: ReadonlySet<Extension> = isPrivate
      ? await access.readable(caller, name)
      : new Set<Extension>(["broadcast", "presence"]);
    if (readable.size === 0) {
      throw new Denied(`Unauthorized: You do not have permissions to read from this Channel topic: ${name}`);
    }
    this.#caller = caller;
    this.#readable = readable;
    this.#writable = new Map();
    this.#updateHearing();
  }

  #updateHearing(): void {
    this.hearsBroadcasts = this.#readable.has("broadcast");
    this.hearsPresence = this.#wantsPresence && this.#readable.has("presence");
  }

  /** Asked once for each token: the same answer serves every later message. */
  async #refusalToWrite(extension: Extension): Promise<string | undefined> {
    const { name } = this.#name;
    let asked = this.#writable.get(extension);
    if (!asked) {
      asked = this.#socket.surroundings.access.mayWrite(this.#caller, name, extension);
      this.#writable.set(extension, asked);
    }
    try {
      const may = await asked;
      return may
        ? undefined
        : `Unauthorized: You do not have permissions to write to this Channel topic: ${name}`;
    } catch (error) {
      if (this.#writable.get(extension) === asked) this.#writable.delete(extension);
      return this.#reasonOf(error);
    }
  }

  #scheduleRecheck(within = Number.POSITIVE_INFINITY): void {
    clearTimeout(this.#timer);
    if (this.#isClosed()) return;
    const { recheckMilliseconds } = this.#socket.surroundings;
    const expiresIn = (this.#caller.expiresAt ?? Number.POSITIVE_INFINITY) - Date.now();
    const wait = Math.max(0, Math.min(within, recheckMilliseconds, expiresIn));
    this.#timer = setTimeout(() => {
      if ((this.#caller.expiresAt ?? Number.POSITIVE_INFINITY) <= Date.now() && !this.#isOutdated) {
        this.#shutDown("Token has expired");
      } else void this.#readmit();
    }, wait);
    this.#timer.unref();
  }

  #shutDown(message: string): void {
    const payload = { extension: "system", status: "error", message, channel: this.#name.name };
    this.#socket.push({ topic: this.topic, event: "system", payload });
    this.close();
  }

  #isClosed(): boolean {
    return this.#state === "closed";
  }

  #end(): void {
    this.#state = "closed";
    clearTimeout(this.#timer);
    this.#socket.forget(this);
    this.#socket.surroundings.topics.remove(this.#name, this);
  }

  #reasonOf(error: unknown): string {
    if (error instanceof Denied) return error.message;
    this.#socket.surroundings.log.warn(
      { err: error },
      "the rights to a realtime channel could not be looked up",
    );
    return "Realtime was unable to connect to the project database";
  }
}

/** Keys that begin with `sb_` are sent where a token belongs, and stand for the key of the connection. */
function readToken(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" && !value.startsWith("sb_") ? value : undefined;
}
