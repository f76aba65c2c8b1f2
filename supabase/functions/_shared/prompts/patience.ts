/** Runs out when nothing comes for so long. */
export class Patience {
  readonly #controller = new AbortController();
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(milliseconds: number) {
    this.renew(milliseconds);
  }

  /** Aborts when the patience is over. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Something came: so long for the next. */
  renew(milliseconds: number): void {
    this.end();
    this.#timer = setTimeout(() => this.#controller.abort(), milliseconds);
  }

  end(): void {
    clearTimeout(this.#timer);
  }
}

/** The work's result, unless the signal aborts before: then whatever the work comes to is nobody's. */
export async function within<Result>(signal: AbortSignal, work: Promise<Result>): Promise<Result> {
  let onAbort: (() => void) | undefined;
  const aborted = new Promise<never>((_resolve, reject) => {
    onAbort = () => reject(signal.reason as Error);
    signal.addEventListener("abort", onAbort, { once: true });
    if (signal.aborted) onAbort();
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    if (onAbort) signal.removeEventListener("abort", onAbort);
  }
}
