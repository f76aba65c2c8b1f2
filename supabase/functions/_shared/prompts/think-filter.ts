const opening = ["<think>", "<thinking>"];
const closing = ["</think>", "</thinking>"];
const tags = [...opening, ...closing];
const longestTag = Math.max(...tags.map((tag) => tag.length));

/**
 * Removes what a model thinks aloud (`<think>…</think>`) from its answer, as it comes: blocks that are split over pieces,
 * lie within each other or do not end. Blanks before the answer are removed too.
 */
export class ThinkFilter {
  /** What may be the beginning of a tag. */
  #held = "";
  #depth = 0;
  #hasBegun = false;
  #hasOrphan = false;

  /** A block has ended that did not begin: what was let through before it was thought. */
  get hasOrphan(): boolean {
    return this.#hasOrphan;
  }

  /** The part of the answer that is sure by now. */
  add(piece: string): string {
    let text = this.#held + piece;
    this.#held = "";
    let answer = "";
    for (;;) {
      const at = text.indexOf("<");
      if (at === -1) return this.#answered(answer + this.#visible(text));
      answer += this.#visible(text.slice(0, at));
      text = text.slice(at);
      const lower = text.slice(0, longestTag).toLowerCase();
      const tag = tags.find((one) => lower.startsWith(one));
      if (tag !== undefined) {
        answer = this.#passTag(tag, answer);
        text = text.slice(tag.length);
      } else if (lower.length === text.length && tags.some((one) => one.startsWith(lower))) {
        this.#held = text;
        return this.#answered(answer);
      } else {
        answer += this.#visible("<");
        text = text.slice(1);
      }
    }
  }

  /** What was held back, when nothing more comes. */
  end(): string {
    const left = this.#visible(this.#held);
    this.#held = "";
    return this.#answered(left);
  }

  #passTag(tag: string, answer: string): string {
    if (opening.includes(tag)) {
      this.#depth++;
      return answer;
    }
    if (this.#depth > 0) {
      this.#depth--;
      return answer;
    }
    // Some models leave out the opening tag. What has not been given out is withdrawn.
    this.#hasOrphan ||= this.#hasBegun;
    return "";
  }

  #visible(text: string): string {
    return this.#depth === 0 ? text : "";
  }

  #answered(text: string): string {
    const answer = this.#hasBegun ? text : text.trimStart();
    this.#hasBegun ||= answer !== "";
    return answer;
  }
}

/** The answer without what was thought aloud. */
export function withoutThinking(text: string): string {
  const filter = new ThinkFilter();
  return filter.add(text) + filter.end();
}
