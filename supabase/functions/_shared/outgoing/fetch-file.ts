import { BodyTooLarge } from "./body-reader.ts";
import { exchange, Silence } from "./exchange.ts";
import { type Head, InvalidAnswer, retryAfterOf } from "./head.ts";
import { findTarget, type TargetPolicy, TargetRefused } from "./target.ts";

export interface FileLimits {
  bytes: number;
  totalMilliseconds: number;
  /** How long the server may say nothing. */
  silenceMilliseconds: number;
}

export interface FetchedFile {
  bytes: Uint8Array;
}

/** Why a file was not fetched; for people only what they may know of our network. */
export class FileNotFetched extends Error {
  /** `refused` and `too_large` stay so; the others may pass. */
  readonly kind: "refused" | "too_large" | "too_slow" | "missing" | "unavailable";
  readonly retryAfterSeconds: number | undefined;

  constructor(kind: FileNotFetched["kind"], message: string, retryAfterSeconds?: number) {
    super(message);
    this.name = "FileNotFetched";
    this.kind = kind;
    this.retryAfterSeconds = retryAfterSeconds;
  }

  get isPassing(): boolean {
    return this.kind === "too_slow" || this.kind === "unavailable";
  }
}

const mostRedirects = 3;

/**
 * A file from an address that somebody else names: every hop is checked, and connected to by the address that was.
 * @throws FileNotFetched, or the signal's reason
 */
export async function fetchFile(
  text: string,
  policy: TargetPolicy,
  limits: FileLimits,
  signal?: AbortSignal,
): Promise<FetchedFile> {
  const timeout = AbortSignal.timeout(limits.totalMilliseconds);
  const either = signal ? AbortSignal.any([timeout, signal]) : timeout;
  try {
    return await follow(text, policy, limits, either);
  } catch (error) {
    signal?.throwIfAborted();
    if (timeout.aborted || error instanceof Silence)
      throw new FileNotFetched("too_slow", "the file took too long");
    throw notFetched(error);
  }
}

async function follow(
  text: string,
  policy: TargetPolicy,
  limits: FileLimits,
  signal: AbortSignal,
): Promise<FetchedFile> {
  let url = text;
  for (let hop = 0; hop <= mostRedirects; hop++) {
    const target = await findTarget(url, policy);
    const { head, body } = await exchange(
      target,
      {
        method: "GET",
        headers: { accept: "image/*, video/*", "accept-encoding": "identity", "user-agent": "Darkroom/1.0" },
      },
      {
        signal,
        silenceMilliseconds: limits.silenceMilliseconds,
        bodyLimit: ({ statusCode }) => (statusCode === 200 ? limits.bytes : undefined),
      },
    );
    if (head.statusCode === 200) return { bytes: body };
    const next = locationOf(head);
    if (next === undefined) throw statusRefused(head);
    url = resolved(next, target.url);
  }
  throw new FileNotFetched("refused", "the file's address leads on too often");
}

function locationOf({ statusCode, headers }: Head): string | undefined {
  return [301, 302, 303, 307, 308].includes(statusCode) ? headers.get("location") : undefined;
}

function resolved(location: string, from: URL): string {
  try {
    return new URL(location, from).href;
  } catch {
    throw new FileNotFetched("refused", "the file's address leads to none");
  }
}

function statusRefused(head: Head): FileNotFetched {
  const { statusCode } = head;
  const passes = statusCode >= 500 || statusCode === 408 || statusCode === 425 || statusCode === 429;
  return new FileNotFetched(
    passes ? "unavailable" : "missing",
    `the file's server answers ${statusCode}`,
    retryAfterOf(head),
  );
}

function notFetched(error: unknown): FileNotFetched {
  if (error instanceof FileNotFetched) return error;
  if (error instanceof TargetRefused)
    return new FileNotFetched("refused", `the file's address: ${error.message}`);
  if (error instanceof BodyTooLarge) return new FileNotFetched("too_large", `the file has ${error.message}`);
  if (error instanceof InvalidAnswer)
    return new FileNotFetched("unavailable", "the file's server answers nonsense");
  return new FileNotFetched("unavailable", "the file's server cannot be reached");
}
