/** Runs something in a process whose clock is off by so many milliseconds, as an API host's may be. */
export async function withClockOff<Result>(
  byMilliseconds: number,
  run: () => Promise<Result>,
): Promise<Result> {
  const RightDate = globalThis.Date;
  class WrongDate extends RightDate {
    constructor(...given: [] | ConstructorParameters<typeof Date>) {
      if (given.length === 0) super(RightDate.now() + byMilliseconds);
      else super(...given);
    }
    static override now(): number {
      return RightDate.now() + byMilliseconds;
    }
  }
  globalThis.Date = WrongDate as DateConstructor;
  try {
    return await run();
  } finally {
    globalThis.Date = RightDate;
  }
}
