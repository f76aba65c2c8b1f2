/**
 * What two hosts are compared by: everything that was answered, with what differs in every run masked.
 * Ids keep their identity: the first one met is `<id 1>` wherever it appears again.
 */
export class Transcript {
  readonly steps: { step: string; seen: unknown }[] = [];
  readonly #names = new Map<string, string>();
  readonly #apiUrl: string;

  constructor(apiUrl: string) {
    this.#apiUrl = apiUrl;
  }

  note(step: string, seen: unknown): void {
    this.steps.push({ step, seen: this.#masked(seen) });
  }

  #masked(value: unknown): unknown {
    if (typeof value === "string") return this.#maskedText(value);
    if (Array.isArray(value)) return value.map((item) => this.#masked(item));
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, this.#masked(item)]));
  }

  #maskedText(text: string): string {
    return text
      .replaceAll(this.#apiUrl, "<url>")
      .replaceAll(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/gi, (id) => this.#named(id, "id"))
      .replaceAll(/\b(?:cs_test|pi|ch|re|du|evt|cus)_[0-9a-f]{12}\d{8}/g, (id) =>
        this.#named(id, "stripe id"),
      )
      .replaceAll(/\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d(:?\d\d)?)?/g, "<time>")
      .replaceAll(/eyJ[\w-]+\.[\w-]+\.[\w-]+/g, "<signature>")
      .replaceAll(/(\d+)-[0-9a-f]{32}-/g, "$1-<random>-")
      .replaceAll(/thumb_\d+_[0-9a-f]{6}/g, "thumb_<random>");
  }

  #named(text: string, kind: string): string {
    const known = this.#names.get(text) ?? `<${kind} ${this.#names.size + 1}>`;
    this.#names.set(text, known);
    return known;
  }
}
