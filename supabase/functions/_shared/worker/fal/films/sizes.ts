/** Pixels of a film's frame. */
export interface Size {
  width: number;
  height: number;
}

export type ResolutionName = "480p" | "580p" | "720p";

/** A film's size in FAL's words. */
export interface FalSize {
  resolution: ResolutionName;
  aspectRatio: "auto" | "16:9" | "9:16" | "1:1";
}

/** Sides of the films that the names mean, 16:9. */
const named: readonly [ResolutionName, Size][] = [
  ["480p", { width: 832, height: 480 }],
  ["580p", { width: 1008, height: 576 }],
  ["720p", { width: 1280, height: 720 }],
];
const ratios = [
  ["16:9", 16 / 9],
  ["9:16", 9 / 16],
  ["1:1", 1],
] as const;
/** How far a shape may be from one of FAL's and still count as it. */
const shapeTolerance = 0.03;
const smallestSide = 64;
const largestSide = 4096;

/** The size of FAL's that is nearest by pixels, and the shape where FAL has it; else the shape of the image. */
export function falSize(size: Size | undefined): FalSize {
  if (!size) return { resolution: "480p", aspectRatio: "auto" };
  const distance = (other: Size): number =>
    Math.abs(Math.log((size.width * size.height) / (other.width * other.height)));
  const [[nearest] = ["480p" as const]] = named.toSorted(
    ([, one], [, other]) => distance(one) - distance(other),
  );
  const shape = size.width / size.height;
  const ratio = ratios.find(([, value]) => Math.abs(shape / value - 1) <= shapeTolerance);
  return { resolution: nearest, aspectRatio: ratio?.[0] ?? "auto" };
}

/** How many pixels a frame of a film has, at most, that FAL makes under a name. */
export function pixelsOf(name: ResolutionName): number {
  const size = named.find(([other]) => other === name)?.[1] ?? { width: 1280, height: 720 };
  return size.width * size.height;
}

/** "902x508", "902*508", [902, 508], {width, height}; sides become even, as films have them. Undefined for anything else. */
export function readFilmSize(value: unknown): Size | undefined {
  const [width, height] = sidesOf(value).map((side) => 2 * Math.round(Number(side) / 2));
  const isSide = (side: number | undefined): side is number =>
    side !== undefined && side >= smallestSide && side <= largestSide;
  return isSide(width) && isSide(height) ? { width, height } : undefined;
}

/** A warning where one of these values asks for a size that no film can have; undefined otherwise. */
export function sizeWarning(values: readonly unknown[]): string | undefined {
  const asked = values
    .map(sidesOf)
    .find((sides) => sides.length === 2 && sides.every((side) => Number(side) > 0));
  if (!asked) return undefined;
  return `No film of ${asked.map(Number).join(" × ")} pixels can be made; the size was ignored.`;
}

/** "480p", "720p" and the like, of the names that FAL has. */
export function readResolutionName(value: unknown): ResolutionName | undefined {
  return named.find(([name]) => name === value)?.[0];
}

function sidesOf(value: unknown): unknown[] {
  if (typeof value === "string") return /^\s*(\d{1,6})\s*[x×*]\s*(\d{1,6})\s*$/i.exec(value)?.slice(1) ?? [];
  if (Array.isArray(value)) return value.length === 2 ? value : [];
  if (typeof value !== "object" || value === null) return [];
  const { width, height } = value as Record<string, unknown>;
  return [width, height];
}
