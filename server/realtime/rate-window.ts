/** Lets so many through in each stretch of time. */
export class RateWindow {
  readonly #limit: number;
  readonly #milliseconds: number;
  #count = 0;
  #endsAt = 0;

  constructor(limit: number, milliseconds: number) {
    this.#limit = limit;
    this.#milliseconds = milliseconds;
  }

  take(count = 1): boolean {
    const now = performance.now();
    if (now >= this.#endsAt) {
      this.#count = 0;
      this.#endsAt = now + this.#milliseconds;
    }
    this.#count += count;
    return this.#count <= this.#limit;
  }
}
