/** The Phoenix protocol as bytes: version 1 sends objects, version 2 arrays and binary broadcasts. Pure. */

export type ProtocolVersion = "1.0.0" | "2.0.0";

export function isProtocolVersion(text: string): text is ProtocolVersion {
  return text === "1.0.0" || text === "2.0.0";
}

/** What a broadcast carries. JSON stays text: it is checked once and never parsed and printed again. */
export interface BroadcastContent {
  event: string;
  payload: string | Uint8Array;
}

interface Address {
  joinRef: string | null;
  ref: string | null;
  topic: string;
}

export type ClientFrame =
  | (Address & { kind: "message"; event: string; payload: Record<string, unknown> })
  | (Address & { kind: "broadcast"; content: BroadcastContent });

export interface ServerMessage {
  joinRef?: string | null;
  ref?: string | null;
  topic: string;
  event: string;
  payload: unknown;
}

/** A frame that no honest client sends. */
export class MalformedFrame extends Error {
  override readonly name = "MalformedFrame";
}

const kindOfClientBroadcast = 3;
const kindOfServerBroadcast = 4;
const jsonEncoding = 1;
const binaryEncoding = 0;
/** Lengths in binary headers, and so the names they measure. */
const maxNameBytes = 255;

/** @throws MalformedFrame */
export function decodeFrame(data: Buffer, isBinary: boolean, version: ProtocolVersion): ClientFrame {
  if (!isBinary) return decodeText(data.toString("utf8"), version);
  if (version !== "2.0.0") throw new MalformedFrame("Version 1.0.0 has no binary frames.");
  return decodeBinary(data);
}

function decodeText(text: string, version: ProtocolVersion): ClientFrame {
  const value = parse(text);
  let joinRef: unknown, ref: unknown, topic: unknown, event: unknown, payload: unknown;
  if (version === "2.0.0") {
    if (!Array.isArray(value) || value.length !== 5) throw new MalformedFrame("Not an array of five.");
    [joinRef, ref, topic, event, payload] = value as unknown[];
  } else {
    if (!isRecord(value)) throw new MalformedFrame("Not an object.");
    ({ join_ref: joinRef, ref, topic, event, payload } = value);
  }
  if (typeof topic !== "string" || typeof event !== "string") {
    throw new MalformedFrame("Topic and event are texts.");
  }
  if (!isRecord(payload)) throw new MalformedFrame("The payload is not an object.");
  const address = { joinRef: readRef(joinRef), ref: readRef(ref), topic };
  if (event !== "broadcast") return { kind: "message", ...address, event, payload };

  if (typeof payload["event"] !== "string") throw new MalformedFrame("A broadcast names its event.");
  const content = { event: payload["event"], payload: print(payload["payload"] ?? {}) };
  return { kind: "broadcast", ...address, content };
}

/** `[3, joinRef, ref, topic, event, meta: lengths; encoding]`, then these texts, then the payload. */
function decodeBinary(data: Buffer): ClientFrame {
  const headerBytes = 7;
  if (data.length < headerBytes) throw new MalformedFrame("Shorter than its header.");
  if (data[0] !== kindOfClientBroadcast) throw new MalformedFrame("An unknown kind of binary frame.");
  let offset = headerBytes;
  const texts = [1, 2, 3, 4, 5].map((position) => {
    const end = offset + (data[position] ?? 0);
    if (end > data.length) throw new MalformedFrame("Shorter than its header says.");
    const text = decodeUtf8(data.subarray(offset, end));
    offset = end;
    return text;
  });
  const [joinRef = "", ref = "", topic = "", event = ""] = texts;
  const rest = data.subarray(offset);
  const encoding = data[6];
  let payload: BroadcastContent["payload"];
  if (encoding === jsonEncoding) {
    payload = decodeUtf8(rest);
    // Other clients will parse it, and some of them would not survive what is no JSON.
    parse(payload);
  } else if (encoding === binaryEncoding) payload = rest;
  else throw new MalformedFrame("An unknown encoding.");
  return {
    kind: "broadcast",
    joinRef: joinRef || null,
    ref: ref || null,
    topic,
    content: { event, payload },
  };
}

export function encodeMessage(version: ProtocolVersion, message: ServerMessage): string {
  const { joinRef = null, ref = null, topic, event, payload } = message;
  return version === "2.0.0"
    ? JSON.stringify([joinRef, ref, topic, event, payload])
    : JSON.stringify({ join_ref: joinRef, ref, topic, event, payload });
}

/** One broadcast to many sockets: encoded once for each version, when the first socket of that version needs it. */
export class OutgoingBroadcast {
  readonly #topic: string;
  readonly #content: BroadcastContent;
  readonly #frames = new Map<ProtocolVersion, Buffer | string | undefined>();

  constructor(topic: string, content: BroadcastContent) {
    this.#topic = topic;
    this.#content = content;
  }

  /** Nothing, where the version cannot say it: bytes in version 1, or under too long a name. */
  frame(version: ProtocolVersion): Buffer | string | undefined {
    if (!this.#frames.has(version)) this.#frames.set(version, this.#encode(version));
    return this.#frames.get(version);
  }

  #encode(version: ProtocolVersion): Buffer | string | undefined {
    const { event, payload } = this.#content;
    const [topicBytes, eventBytes] = [Buffer.from(this.#topic), Buffer.from(event)];
    const fits = topicBytes.length <= maxNameBytes && eventBytes.length <= maxNameBytes;
    if (version === "2.0.0" && fits) {
      const encoding = typeof payload === "string" ? jsonEncoding : binaryEncoding;
      const header = [kindOfServerBroadcast, topicBytes.length, eventBytes.length, 0, encoding];
      const body = typeof payload === "string" ? Buffer.from(payload) : payload;
      return Buffer.concat([Buffer.from(header), topicBytes, eventBytes, body]);
    }
    if (typeof payload !== "string") return undefined;
    const [topic, inner] = [
      JSON.stringify(this.#topic),
      `"event":${JSON.stringify(event)},"payload":${payload}`,
    ];
    return version === "2.0.0"
      ? `[null,null,${topic},"broadcast",{"type":"broadcast",${inner}}]`
      : `{"join_ref":null,"ref":null,"topic":${topic},"event":"broadcast","payload":{"type":"broadcast",${inner}}}`;
  }
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function readRef(value: unknown): string | null {
  if (value === null || value === undefined) return null;
  if (typeof value === "number") return String(value);
  if (typeof value !== "string" || value.length > maxNameBytes) throw new MalformedFrame("Not a reference.");
  return value;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new MalformedFrame("Not JSON.", { cause: error });
  }
}

function print(value: unknown): string {
  try {
    return JSON.stringify(value);
  } catch (error) {
    // What was parsed without recursion may be too deep to be printed with it.
    throw new MalformedFrame("Nested too deeply.", { cause: error });
  }
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function decodeUtf8(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes);
  } catch (error) {
    throw new MalformedFrame("Not UTF-8.", { cause: error });
  }
}
