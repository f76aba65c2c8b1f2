import type { Campaign, Report } from "./campaign.ts";

export interface RunOptions {
  /** Instead of the campaign's own number. */
  rounds?: number | undefined;
  seed: number;
  short: boolean;
  template?: string;
  say(line: string): void;
  /** Ends the campaign early; what it started is ended too. */
  stop?: AbortSignal;
}

/** Runs a campaign and ends everything that it started, however it ends. */
export async function runCampaign(campaign: Campaign, options: RunOptions): Promise<Report> {
  const closers: (() => Promise<unknown>)[] = [];
  const { seed, short, template, say, stop } = options;
  const rounds = options.rounds ?? (short ? campaign.rounds.short : campaign.rounds.full);
  const stopped = new Promise<never>((_, reject) => {
    stop?.addEventListener("abort", () => reject(new Error("The campaign was stopped.")), { once: true });
  });
  try {
    const running = campaign.run({
      rounds,
      seed,
      short,
      template,
      say,
      atEnd: (close) => void closers.push(close),
    });
    return await Promise.race([running, stopped]);
  } finally {
    const failures: unknown[] = [];
    for (let close = closers.pop(); close; close = closers.pop()) {
      await close().catch((error: unknown) => failures.push(error));
    }
    if (failures.length > 0) say(`not everything was closed: ${failures.map(String).join("; ")}`);
  }
}
