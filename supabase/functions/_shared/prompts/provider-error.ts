import { AppError } from "../errors/app-error.ts";

/** An answer that is no answer: JSON of another shape, or no end to it. */
export class MalformedAnswer extends Error {}

/** Why a provider did not answer, for the log: a class and a status, for messages may hold what it said. */
class ProviderFailure extends Error {
  readonly status: number | undefined;

  constructor(error: unknown, status: number | undefined) {
    const told = error instanceof MalformedAnswer ? error.message : "";
    const code = error instanceof Error ? codeOf(error) : undefined;
    super([nameOf(error), status, code, told].filter(Boolean).join(" "));
    this.name = "ProviderFailure";
    this.status = status;
  }
}

/**
 * Whatever went wrong while a provider was asked, as ours: it took too long (504), it cannot answer now (503), or what it
 * answers is of no use (502). The longest waits it may ask of our callers are five minutes.
 */
export function providerError(error: unknown, signal: AbortSignal): AppError {
  if (error instanceof AppError) return error;
  const status = numberAt(error, "status");
  const cause = { cause: new ProviderFailure(error, status) };
  if (signal.aborted || /Timeout|Abort/.test(nameOf(error))) {
    return new AppError("provider_timeout", { retry_after: 5 }, cause);
  }
  if (error instanceof MalformedAnswer || error instanceof SyntaxError) {
    return new AppError("provider_failed", {}, cause);
  }
  // Without a status: there was no connection, or it broke.
  if (status === undefined || status === 408 || status === 429 || status >= 500) {
    return new AppError("provider_unavailable", { retry_after: retryAfterOf(error) ?? 10 }, cause);
  }
  return new AppError("provider_failed", {}, cause);
}

function nameOf(error: unknown): string {
  if (!(error instanceof Error)) return "";
  return error.constructor.name === "DOMException" ? error.name : error.constructor.name;
}

/** A system's code, such as ECONNREFUSED, where the error or its cause has one. */
function codeOf(error: Error): string | undefined {
  const code = (error as { code?: unknown }).code ?? (error.cause as { code?: unknown } | undefined)?.code;
  return typeof code === "string" && /^[A-Z_]{1,40}$/.test(code) ? code : undefined;
}

function numberAt(error: unknown, name: string): number | undefined {
  const value = error instanceof Error ? (error as unknown as Record<string, unknown>)[name] : undefined;
  return typeof value === "number" ? value : undefined;
}

function retryAfterOf(error: unknown): number | undefined {
  const headers = error instanceof Error ? (error as { headers?: unknown }).headers : undefined;
  const seconds = headers instanceof Headers ? Number(headers.get("retry-after") ?? NaN) : NaN;
  return seconds >= 0 ? Math.min(Math.max(Math.ceil(seconds), 1), 300) : undefined;
}
