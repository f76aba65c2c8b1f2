/** What a campaign is: promises, the faults that put them to the test, and what is reported of both. */

export interface CampaignSettings {
  /** How many faults, or requests: each campaign says which. */
  rounds: number;
  seed: number;
  /** For CI: few rounds on a busy machine, so time limits are wider. */
  short: boolean;
  /** A data folder of a host that has run once: new folders are copies of it, which saves CI the first start. */
  template?: string | undefined;
  /** Progress, for people who watch. */
  say(line: string): void;
  /** Something that was opened, closed in the opposite order when the campaign ends, however it ends. */
  atEnd(close: () => Promise<unknown>): void;
}

export interface Campaign {
  name: string;
  title: string;
  /** What `--rounds` counts. */
  unit: string;
  rounds: { full: number; short: number };
  run(settings: CampaignSettings): Promise<Report>;
}

export interface Outcome {
  promise: string;
  figure: string;
  holds: boolean;
}

export interface Table {
  title: string;
  head: string[];
  rows: (string | number)[][];
}

export class Report {
  readonly outcomes: Outcome[] = [];
  readonly tables: Table[] = [];
  /** Why the campaign could not run here; then it proves nothing. */
  skipped: string | undefined;
  /** Of what the following promises and tables are, where a campaign has several parts. */
  part = "";

  /** A promise that holds when a count of breaches is zero. */
  none(promise: string, breaches: number, figure = String(breaches)): void {
    this.holds(promise, figure, breaches === 0);
  }

  /** A promise that holds when a figure is at most its limit. */
  atMost(promise: string, value: number, limit: number, unit: string): void {
    const figure = Number.isFinite(value) ? `${round(value)} ${unit}` : "never";
    this.holds(`${promise}: at most ${limit} ${unit}`, figure, value <= limit);
  }

  holds(promise: string, figure: string, holds: boolean): void {
    this.outcomes.push({ promise: this.part + promise, figure, holds });
  }

  table(title: string, head: string[], rows: (string | number)[][]): void {
    this.tables.push({ title: this.part + title, head, rows });
  }

  get broken(): Outcome[] {
    return this.outcomes.filter(({ holds }) => !holds);
  }

  markdown(title: string): string {
    const parts = [`### ${title}`];
    if (this.skipped !== undefined) parts.push(`Skipped: ${this.skipped}`);
    if (this.outcomes.length > 0) {
      const rows = this.outcomes.map(({ promise, figure, holds }) => [
        promise,
        figure,
        holds ? "yes" : "**no**",
      ]);
      parts.push(markdownTable(["promise", "figure", "holds"], rows));
    }
    for (const { title, head, rows } of this.tables) parts.push(`${title}:`, markdownTable(head, rows));
    return `${parts.join("\n\n")}\n`;
  }
}

function markdownTable(head: string[], rows: (string | number)[][]): string {
  const line = (cells: (string | number)[]) =>
    `| ${cells.map((cell) => String(cell).replaceAll("|", "\\|").replaceAll("\n", " ")).join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}

export function round(value: number): number {
  return Math.round(value * 100) / 100;
}

export function percentile(values: number[], part: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * part) - 1)] ?? 0;
}
