import { Buffer } from "node:buffer";
import { connect as connectPlain, type Socket } from "node:net";
import { connect as connectEncrypted } from "node:tls";
import { BodyReader } from "./body-reader.ts";
import { type Head, InvalidAnswer, readHead } from "./head.ts";
import type { Target } from "./target.ts";

export interface OutgoingRequest {
  method: "GET" | "POST";
  headers: Record<string, string>;
  body?: string;
}

export interface Exchange {
  head: Head;
  /** Empty where it was not asked for. */
  body: Uint8Array;
}

export interface ExchangeLimits {
  signal: AbortSignal;
  /** How many bytes of the body to take; undefined: none, the body is not read. */
  bodyLimit?: (head: Head) => number | undefined;
  /** How long the server may say nothing. */
  silenceMilliseconds?: number;
}

/** The server has said nothing for too long. */
export class Silence extends Error {}

const headBytes = 16 * 1024;

/**
 * One request to exactly the address that was checked, and the answer.
 *
 * HTTP/1.1 over a socket of its own, for neither `fetch` nor, on Deno 2.1, `node:https` can be told which address
 * to connect to; whoever looks the name up again may get another. TLS is checked against the URL's name. No redirect
 * is followed, no proxy asked, no connection used twice.
 * @throws InvalidAnswer, BodyTooLarge, Silence, the signal's reason, or what the socket says
 */
export function exchange(
  { url, address }: Target,
  request: OutgoingRequest,
  { signal, bodyLimit, silenceMilliseconds }: ExchangeLimits,
): Promise<Exchange> {
  return new Promise((resolve, reject) => {
    const socket = open(url, address);
    const onAbort = () => settle(() => reject(signal.reason as Error));
    let received = Buffer.alloc(0);
    let body: BodyReader | undefined;
    let silence: ReturnType<typeof setTimeout> | undefined;

    function settle(act: () => void): void {
      signal.removeEventListener("abort", onAbort);
      clearTimeout(silence);
      socket.destroy();
      act();
    }

    function listen(): void {
      clearTimeout(silence);
      if (silenceMilliseconds === undefined) return;
      silence = setTimeout(
        () => settle(() => reject(new Silence("the server says nothing"))),
        silenceMilliseconds,
      );
    }

    function read(chunk: Uint8Array): void {
      if (body) return finish(body, body.read(chunk));
      received = Buffer.concat([received, chunk]);
      const answer = readHead(received.toString("latin1"));
      if (!answer) {
        if (received.length > headBytes) throw new InvalidAnswer("the head of the answer is too long");
        return;
      }
      const limit = bodyLimit?.(answer);
      if (limit === undefined) return settle(() => resolve({ head: answer, body: new Uint8Array() }));
      body = new BodyReader(answer, limit);
      finish(body, body.read(received.subarray(answer.bytes)));
    }

    function finish(reader: BodyReader, isComplete: boolean): void {
      if (isComplete) settle(() => resolve({ head: reader.head, body: reader.bytes() }));
    }

    socket.on("error", (error: Error) => settle(() => reject(error)));
    socket.on("close", () => {
      if (body?.endsWithConnection) finish(body, true);
      else
        settle(() =>
          reject(new InvalidAnswer(body ? "the answer was cut short" : "closed without an answer")),
        );
    });
    socket.on("data", (chunk: Uint8Array) => {
      try {
        listen();
        read(chunk);
      } catch (error) {
        settle(() => reject(error as Error));
      }
    });
    socket.once(url.protocol === "https:" ? "secureConnect" : "connect", () => {
      socket.write(requestText(url, request));
    });
    signal.addEventListener("abort", onAbort, { once: true });
    listen();
    if (signal.aborted) onAbort();
  });
}

function open(url: URL, address: string): Socket {
  const isEncrypted = url.protocol === "https:";
  const port = url.port === "" ? (isEncrypted ? 443 : 80) : Number(url.port);
  if (!isEncrypted) return connectPlain({ host: address, port });
  return connectEncrypted({
    host: address,
    port,
    servername: url.hostname,
    ALPNProtocols: ["http/1.1"],
    minVersion: "TLSv1.2",
  });
}

/** Host and path come from a parsed URL, which has no control characters; header values are ours. */
function requestText(url: URL, { method, headers, body }: OutgoingRequest): Uint8Array {
  const content = Buffer.from(body ?? "", "utf8");
  const lines = Object.entries({
    host: url.host,
    ...headers,
    ...(body !== undefined && { "content-length": String(content.length) }),
    connection: "close",
  }).map(([name, value]) => `${name}: ${value}\r\n`);
  const head = `${method} ${url.pathname}${url.search} HTTP/1.1\r\n${lines.join("")}\r\n`;
  return Buffer.concat([Buffer.from(head, "latin1"), content]);
}
