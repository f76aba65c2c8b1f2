import type { PaidCall } from "../credits/paid-call.ts";

export type PromptAnswer = Record<string, unknown>;

/** What a provider wrote, and how much of what it was asked for that is. */
export interface Written {
  answer: PromptAnswer;
  /** Answers of its own; where it said nothing and a text stayed as it was, none. */
  units: number;
  /** For the ledger: what this was, and which model it was. */
  details: Record<string, string>;
}

/**
 * The pieces and the whole of a call, which is charged when it is answered: for the units that were, before the whole is
 * given. One that fails costs nothing, also in the middle. Of one whose caller leaves, what was sent is charged:
 * `unitsOf` says how much so many pieces are.
 */
export async function* paidAnswer<Piece>(
  call: PaidCall | undefined,
  work: AsyncGenerator<Piece, Written>,
  unitsOf: (pieces: number) => number,
  leaving: AbortSignal,
): AsyncGenerator<Piece, PromptAnswer> {
  let sent = 0;
  let isOver = false;
  let written: Written | undefined;
  try {
    while (!written) {
      const { done, value } = await work.next();
      if (done) {
        written = value;
      } else {
        yield value;
        // Asked for the next: this one is taken.
        sent++;
      }
    }
    const charge = await call?.close(written.units, written.answer, written.details);
    isOver = true;
    return { ...written.answer, ...(charge && charge.units > 0 && { charge }) };
  } finally {
    if (!isOver) {
      await work.return(undefined as never);
      // A failure to charge is no reason to try again: what it held is given back by itself.
      if (!written) await call?.close(leaving.aborted ? unitsOf(sent) : 0);
    }
  }
}

/** The answer, where nobody wants the pieces. */
export async function wholeOf(pieces: AsyncGenerator<unknown, PromptAnswer>): Promise<PromptAnswer> {
  for (;;) {
    const { done, value } = await pieces.next();
    if (done) return value;
  }
}
