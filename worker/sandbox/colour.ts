import type { SeededRandom } from "./seeded-random.ts";

/** OKLCH: equal steps look equal, so colours picked by chance still go together. */
export interface Colour {
  lightness: number;
  chroma: number;
  hue: number;
}

export interface Palette {
  /** The ground, from one corner to the other. */
  ground: [Colour, Colour];
  /** What shapes and lights are made of, from the main colour to the accent. */
  lights: [Colour, Colour, Colour, Colour];
  accent: Colour;
  /** Under the writing: dark enough for white letters. */
  shade: Colour;
}

const schemes: readonly [Scheme, ...Scheme[]] = [
  [0, 28, 56, -26],
  [0, 34, 168, 196],
  [0, -42, -78, 132],
  [0, 52, 104, -70],
  [0, 20, -150, -122],
];

/** Degrees from the first hue to each of the four. */
type Scheme = readonly [number, number, number, number];

export function makePalette(random: SeededRandom): Palette {
  const base = random.between(0, 360);
  const offsets = random.pick(schemes);
  const direction = random.chance(0.5) ? 1 : -1;
  const hue = (index: number): number => base + direction * (offsets[index] ?? 0);
  const depth = random.between(0.2, 0.3);
  return {
    ground: [
      { lightness: depth, chroma: 0.07, hue: hue(0) },
      { lightness: depth + 0.16, chroma: 0.1, hue: hue(1) },
    ],
    lights: [
      { lightness: random.between(0.56, 0.64), chroma: 0.19, hue: hue(0) },
      { lightness: random.between(0.64, 0.72), chroma: 0.17, hue: hue(1) },
      { lightness: random.between(0.7, 0.8), chroma: 0.15, hue: hue(2) },
      { lightness: random.between(0.5, 0.6), chroma: 0.2, hue: hue(3) },
    ],
    accent: { lightness: 0.88, chroma: 0.1, hue: hue(2) },
    shade: { lightness: 0.15, chroma: 0.045, hue: hue(0) },
  };
}

/** The same picture as a pale print: what an edit started from. */
export function fade(palette: Palette): Palette {
  const pale = (colour: Colour): Colour => ({ ...colour, chroma: colour.chroma * 0.1 });
  return {
    ground: [pale(palette.ground[0]), pale(palette.ground[1])],
    lights: [
      pale(palette.lights[0]),
      pale(palette.lights[1]),
      pale(palette.lights[2]),
      pale(palette.lights[3]),
    ],
    accent: pale(palette.accent),
    shade: palette.shade,
  };
}

export function hex(colour: Colour): string {
  const angle = (colour.hue * Math.PI) / 180;
  // Chroma that the screen cannot show is taken back until it can: clipping channels would turn the hue.
  for (let chroma = colour.chroma; ; chroma -= 0.004) {
    const rgb = toLinearRgb(colour.lightness, chroma * Math.cos(angle), chroma * Math.sin(angle));
    if (chroma <= 0 || rgb.every((channel) => channel >= -0.0005 && channel <= 1.0005)) {
      return `#${rgb.map(toByte).join("")}`;
    }
  }
}

export function lighter(colour: Colour, by: number): Colour {
  return { ...colour, lightness: Math.min(0.97, Math.max(0.05, colour.lightness + by)) };
}

/** Björn Ottosson's OKLab matrices. */
function toLinearRgb(lightness: number, a: number, b: number): [number, number, number] {
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  return [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ];
}

function toByte(linear: number): string {
  const bounded = Math.min(1, Math.max(0, linear));
  const encoded = bounded <= 0.0031308 ? bounded * 12.92 : 1.055 * bounded ** (1 / 2.4) - 0.055;
  return Math.round(encoded * 255)
    .toString(16)
    .padStart(2, "0");
}
