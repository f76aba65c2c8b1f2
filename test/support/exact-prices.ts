/** What work costs, computed without the product: whole numbers alone, from the price list's words in docs/credits.md. */

export interface PublishedPrice {
  billing_type: "per_unit" | "per_second";
  price_microusd: number;
  cost_factors: Record<string, Record<string, number>>;
}

/** A decimal as a quotient of whole numbers. */
interface Fraction {
  over: bigint;
  under: bigint;
}

function fraction(decimal: number): Fraction {
  const match = /^(\d+)(?:\.(\d+))?(?:e-(\d+))?$/.exec(String(decimal));
  if (!match) throw new Error(`${decimal} is no factor`);
  const [, whole = "", digits = "", exponent = "0"] = match;
  return { over: BigInt(whole + digits), under: 10n ** BigInt(digits.length + Number(exponent)) };
}

/** A hundred million dollars. */
const greatestCost = 100_000_000_000_000n;

/** In micro-dollars. `microseconds` is how long the work took, which only matters where seconds are paid. */
export function exactCost(
  price: PublishedPrice,
  params: Record<string, unknown>,
  microseconds: bigint,
  mostSeconds: bigint,
): bigint {
  let { over, under } = multiplierOf(price, params);
  over *= BigInt(price.price_microusd);
  if (price.billing_type === "per_second") {
    const begun = (microseconds + 999_999n) / 1_000_000n;
    over *= begun < 1n ? 1n : begun > mostSeconds ? mostSeconds : begun;
  }
  // Half a micro-dollar is rounded up, once.
  under *= 2n;
  const rounded = (2n * over + under / 2n) / under;
  return rounded < greatestCost ? rounded : greatestCost;
}

export function multiplierOf({ cost_factors }: PublishedPrice, params: Record<string, unknown>): Fraction {
  let [over, under] = [1n, 1n];
  for (const [name, rule] of Object.entries(cost_factors)) {
    const factor =
      name === "frames" || name === "images"
        ? countFactor(rule, countOf(name, params))
        : namedFactor(name, rule, params);
    over *= factor.over;
    under *= factor.under;
  }
  return { over, under };
}

function countFactor({ included = 0, each = 0 }: Record<string, number>, count: bigint): Fraction {
  const free = fraction(included);
  const step = fraction(each);
  const beyond = count * free.under - free.over;
  if (beyond <= 0n) return { over: 1n, under: 1n };
  const under = free.under * step.under;
  return { over: under + beyond * step.over, under };
}

const namesOfCounts = {
  frames: ["num_frames", "segment_frames_target", "frame_count", "video_length"],
  images: ["num_images", "num_generations"],
};

/** Begun ones whole; what is no plain number of up to nine digits counts as none. */
function countOf(factor: keyof typeof namesOfCounts, params: Record<string, unknown>): bigint {
  const given = namesOfCounts[factor]
    .map((name) => params[name])
    .find((value) => value !== undefined && value !== null);
  const text = typeof given === "number" ? given.toLocaleString("en-US", plainDigits) : String(given ?? "");
  const match = /^(\d{1,9})(?:\.(\d{1,9}))?$/.exec(text);
  if (!match) return 0n;
  const count = BigInt(match[1] ?? "0") + (Number(match[2] ?? "0") > 0 ? 1n : 0n);
  return count < 100_000n ? count : 100_000n;
}

const plainDigits = { useGrouping: false, maximumFractionDigits: 20 } as const;

function namedFactor(name: string, rule: Record<string, number>, params: Record<string, unknown>): Fraction {
  const spellings = { resolution: ["resolution", "parsed_resolution_wh"], model: ["model_name", "model"] }[
    name
  ] ?? [name];
  const value = spellings
    .map((spelling) => params[spelling])
    .find((given) => (name === "model" ? typeof given === "string" : given !== undefined && given !== null));
  const listed = typeof value === "string" ? rule[name === "model" ? value.trim() : value] : undefined;
  return listed === undefined ? { over: 1n, under: 1n } : fraction(listed);
}
