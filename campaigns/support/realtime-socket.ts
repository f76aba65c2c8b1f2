import WebSocket from "ws";
import type { HostKeys } from "./host-process.ts";

/** A browser's socket on a private topic: connects again when it is closed, and notes what arrives. */
export class RealtimeSocket {
  readonly #address: string;
  readonly #keys: HostKeys;
  readonly #topic: string;
  readonly #jwt: string;
  #socket: WebSocket | undefined;
  #retry: NodeJS.Timeout | undefined;
  #isClosed = false;
  /** `performance.now()` of the last broadcast. */
  lastEventAt = 0;
  events = 0;

  constructor(address: string, keys: HostKeys, topic: string, jwt: string) {
    this.#address = address;
    this.#keys = keys;
    this.#topic = topic;
    this.#jwt = jwt;
    this.#open();
  }

  #open(): void {
    const socket = openSocket(this.#address, this.#keys);
    this.#socket = socket;
    socket.on("open", () => join(socket, this.#topic, this.#jwt));
    socket.on("message", (data: Buffer) => {
      const { event, payload } = JSON.parse(data.toString()) as {
        event: string;
        payload: { status?: string };
      };
      if (event === "broadcast") {
        this.lastEventAt = performance.now();
        this.events++;
      } else if (event === "phx_reply" && payload.status === "error") {
        socket.terminate();
      }
    });
    // A failed connection is followed by "close", where it is tried again.
    socket.on("error", () => socket.terminate());
    socket.on("close", () => {
      if (!this.#isClosed) this.#retry = setTimeout(() => this.#open(), 100);
    });
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#retry);
    this.#socket?.terminate();
  }
}

/** Whether a new socket may join the topic, within the limit. */
export async function canJoin(
  address: string,
  keys: HostKeys,
  topic: string,
  jwt: string,
  limitMilliseconds: number,
): Promise<boolean> {
  return await new Promise((resolve) => {
    const socket = openSocket(address, keys);
    const finish = (joined: boolean) => {
      clearTimeout(limit);
      socket.terminate();
      resolve(joined);
    };
    const limit = setTimeout(() => finish(false), limitMilliseconds);
    socket.on("open", () => join(socket, topic, jwt));
    socket.on("message", (data: Buffer) => {
      const { event, payload } = JSON.parse(data.toString()) as {
        event: string;
        payload: { status?: string };
      };
      if (event === "phx_reply") finish(payload.status === "ok");
    });
    socket.on("error", () => finish(false));
    socket.on("close", () => finish(false));
  });
}

function openSocket(address: string, { PUBLISHABLE_KEY }: HostKeys): WebSocket {
  const url = `${address.replace("http", "ws")}/realtime/v1/websocket?vsn=1.0.0&apikey=${PUBLISHABLE_KEY}`;
  return new WebSocket(url, { handshakeTimeout: 5_000 });
}

function join(socket: WebSocket, topic: string, jwt: string): void {
  const payload = { config: { private: true }, access_token: jwt };
  socket.send(
    JSON.stringify({ topic: `realtime:${topic}`, event: "phx_join", payload, ref: "1", join_ref: "1" }),
  );
}
