import { AppError } from "../errors/app-error.ts";
import type { Log } from "../observability/log.ts";

/**
 * Server-sent events: `piece` for each piece, then `done` with the whole, or `error` in the one format of errors. The
 * first piece is awaited, so that what fails at once fails with its status.
 */
export async function eventStream<Piece, Whole>(
  pieces: AsyncGenerator<Piece, Whole>,
  log: Log,
): Promise<Response> {
  const first = await pieces.next();
  const encoder = new TextEncoder();
  const event = (name: string, data: unknown) =>
    encoder.encode(`event: ${name}\ndata: ${JSON.stringify(data)}\n\n`);
  let next: Promise<IteratorResult<Piece, Whole>> | undefined = Promise.resolve(first);
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      if (!next) return;
      try {
        const { done, value } = await next;
        controller.enqueue(event(done ? "done" : "piece", value));
        next = done ? undefined : pieces.next();
        // Read on at once; what fails is seen when it is pulled.
        next?.catch(() => undefined);
        if (done) controller.close();
      } catch (error) {
        next = undefined;
        const failure =
          error instanceof AppError ? error : new AppError("internal_error", {}, { cause: error });
        if (failure.status >= 500) log.error({ err: failure.cause ?? failure }, failure.code);
        controller.enqueue(
          event("error", { error: failure.code, message: failure.message, ...failure.details }),
        );
        controller.close();
      }
    },
    async cancel() {
      // Whoever hangs up is not written for any further.
      next = undefined;
      await pieces.return(undefined as never);
    },
  });
  return new Response(body, {
    headers: { "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-store" },
  });
}
