import { type Colour, type Palette, lighter } from "./colour.ts";
import { type SeededRandom, seededRandom } from "./seeded-random.ts";
import { type Point, type Stop, element, linearGradient, radialGradient, smoothPath } from "./svg.ts";

interface Canvas {
  width: number;
  height: number;
  /** The geometric mean of both: what sizes follow, so that wide and tall pictures look alike. */
  unit: number;
  palette: Palette;
  random: SeededRandom;
  /** Keeps a definition for the picture and returns the reference to it. */
  define(make: (id: string) => string): string;
}

type Motif = (canvas: Canvas) => string;

const motifs: readonly [Motif, ...Motif[]] = [dunes, orbs, strands, petals];

/**
 * The picture without its writing: soft light over a dark ground, and one motif. The same fingerprint draws the same
 * shapes whatever the palette, so a faded and a coloured print of it lie exactly over each other.
 */
export function drawArtwork(
  fingerprint: string,
  size: { width: number; height: number },
  palette: Palette,
  prefix: string,
): string {
  const definitions: string[] = [];
  const canvas: Canvas = {
    ...size,
    unit: Math.sqrt(size.width * size.height),
    palette,
    random: seededRandom(`artwork ${fingerprint}`),
    define(make) {
      const id = `${prefix}${definitions.length}`;
      definitions.push(make(id));
      return `url(#${id})`;
    },
  };
  const motif = canvas.random.pick(motifs);
  const layers = [ground(canvas), lights(canvas), motif(canvas), dust(canvas)];
  return element("defs", {}, ...definitions) + layers.join("");
}

function ground({ width, height, palette, random, define }: Canvas): string {
  const [from, to] = palette.ground;
  const tilt = random.between(0, 0.6);
  const fill = define((id) =>
    linearGradient(
      id,
      [width * tilt, height, width * (1 - tilt), 0],
      [
        { at: 0, colour: from },
        { at: 1, colour: to },
      ],
    ),
  );
  return element("rect", { width, height, fill });
}

/** Lights of the palette's colours, spread over the picture by a jittered grid so that no part stays empty. */
function lights({ width, height, unit, palette, random, define }: Canvas): string {
  const shapes: string[] = [];
  for (let index = 0; index < 8; index += 1) {
    const colour = palette.lights[index % 4] ?? palette.accent;
    const cx = width * ((index % 3) / 2 + random.between(-0.28, 0.28));
    const cy = height * (Math.floor(index / 3) / 2.4 + random.between(-0.24, 0.24));
    const r = unit * random.between(0.36, 0.72);
    shapes.push(glow(define, { cx, cy, r, colour, opacity: random.between(0.55, 0.95) }));
  }
  return shapes.join("");
}

/** Ridges one behind the other, each lit along its edge. */
function dunes({ width, height, palette, random, define }: Canvas): string {
  const count = 5;
  const ridges: string[] = [];
  for (let index = 0; index < count; index += 1) {
    const nearness = index / (count - 1);
    const level = height * (0.36 + 0.42 * nearness + random.between(-0.03, 0.03));
    const swing = height * random.between(0.035, 0.085);
    const [phase, pace] = [random.between(0, 6.28), random.between(0.7, 1.5)];
    const crest: Point[] = [];
    for (let step = -1; step <= 13; step += 1) {
      const x = (width * step) / 12;
      const wave = Math.sin(phase + (step / 12) * pace * 6.28) + 0.35 * Math.sin(phase * 2 + step * pace);
      crest.push([x, level + swing * wave]);
    }
    const body = `${smoothPath(crest)}L${width * 1.1} ${height * 1.1}L${-width * 0.1} ${height * 1.1}Z`;
    const colour = palette.lights[(index + 1) % 4] ?? palette.accent;
    const fill = define((id) =>
      linearGradient(
        id,
        [0, level - swing, width * 0.15, level + height * 0.42],
        [
          { at: 0, colour: lighter(colour, 0.1), opacity: 0.85 },
          { at: 0.35, colour, opacity: 0.72 },
          { at: 1, colour: lighter(palette.ground[0], -0.04), opacity: 0.92 },
        ],
      ),
    );
    ridges.push(element("path", { d: body, fill }));
    const rim = { fill: "none", stroke: "#fff", "stroke-opacity": 0.2 + 0.1 * nearness };
    ridges.push(element("path", { d: smoothPath(crest), "stroke-width": height * 0.0016, ...rim }));
  }
  return sun(palette, random, define, { width, height }) + ridges.join("");
}

function sun(
  palette: Palette,
  random: SeededRandom,
  define: Canvas["define"],
  { width, height }: { width: number; height: number },
): string {
  const cx = width * random.between(0.22, 0.78);
  const cy = height * random.between(0.2, 0.3);
  const r = Math.min(width, height) * random.between(0.07, 0.12);
  const halo = glow(define, { cx, cy, r: r * 4.5, colour: palette.accent, opacity: 0.55 });
  const fill = define((id) =>
    linearGradient(
      id,
      [cx, cy - r, cx, cy + r],
      [
        { at: 0, colour: lighter(palette.accent, 0.08) },
        { at: 1, colour: palette.lights[2] },
      ],
    ),
  );
  return halo + element("circle", { cx, cy, r, fill });
}

/** Glass balls of many sizes, lit from one side. */
function orbs({ width, height, unit, palette, random, define }: Canvas): string {
  const lightX = random.chance(0.5) ? 0.32 : 0.68;
  const placed: { cx: number; cy: number; r: number }[] = [];
  for (let tries = 0; placed.length < 9 && tries < 120; tries += 1) {
    const r = unit * (placed.length < 2 ? random.between(0.15, 0.21) : random.between(0.018, 0.085));
    const cx = random.between(0.06, 0.94) * width;
    const cy = random.between(0.06, 0.66) * height;
    const free = placed.every((other) => Math.hypot(cx - other.cx, cy - other.cy) > (r + other.r) * 0.92);
    if (free) placed.push({ cx, cy, r });
  }
  return placed
    .map(({ cx, cy, r }, index) => {
      const colour = palette.lights[index % 4] ?? palette.accent;
      const shadow = glow(define, {
        cx: cx - (lightX - 0.5) * r * 1.6,
        cy: cy + r * 0.75,
        r: r * 1.55,
        colour: lighter(palette.ground[0], -0.08),
        opacity: 0.6,
      });
      const fill = define((id) =>
        radialGradient(id, { cx: lightX, cy: 0.28, r: 0.85, fx: lightX, fy: 0.24 }, [
          { at: 0, colour: lighter(colour, 0.26) },
          { at: 0.28, colour: lighter(colour, 0.1) },
          { at: 0.66, colour },
          { at: 1, colour: lighter(colour, -0.26) },
        ]),
      );
      const glint = glow(define, {
        cx: cx + (lightX - 0.5) * r * 0.9,
        cy: cy - r * 0.5,
        r: r * 0.36,
        colour: { lightness: 0.99, chroma: 0, hue: 0 },
        opacity: 0.65,
      });
      return shadow + element("circle", { cx, cy, r, fill }) + glint;
    })
    .join("");
}

/** A sheaf of fine lines that twists as it crosses the picture. */
function strands({ width, height, unit, palette, random, define }: Canvas): string {
  const count = 64;
  const [phase, twist, pace] = [
    random.between(0, 6.28),
    random.between(1.6, 3.4),
    random.between(0.75, 1.25),
  ];
  const middle = random.between(0.32, 0.46);
  const slope = random.between(-0.22, 0.22);
  const [first, second] = [palette.lights[2], palette.accent];
  const stroke = define((id) =>
    linearGradient(
      id,
      [0, 0, width, 0],
      [
        { at: 0, colour: first, opacity: 0.15 },
        { at: 0.3, colour: lighter(first, 0.12), opacity: 0.85 },
        { at: 0.7, colour: second, opacity: 0.9 },
        { at: 1, colour: palette.lights[1], opacity: 0.15 },
      ],
    ),
  );
  const lines: string[] = [];
  for (let line = 0; line < count; line += 1) {
    const across = line / (count - 1) - 0.5;
    const points: Point[] = [];
    for (let step = -1; step <= 19; step += 1) {
      const along = step / 18;
      const spread = 0.1 + 0.3 * Math.abs(Math.sin(along * twist + phase));
      const wave = 0.1 * Math.sin(along * pace * 6.28 + phase + across * twist);
      points.push([along * width, height * (middle + slope * (along - 0.5) + wave + across * spread)]);
    }
    const weight = unit * (0.0009 + 0.0016 * (1 - Math.abs(across) * 2));
    lines.push(element("path", { d: smoothPath(points), fill: "none", stroke, "stroke-width": weight }));
  }
  const halo = glow(define, {
    cx: width / 2,
    cy: height * middle,
    r: unit * 0.5,
    colour: palette.accent,
    opacity: 0.28,
  });
  return halo + lines.join("");
}

/** Large petals that lie over each other like coloured glass. */
function petals({ width, height, unit, palette, random, define }: Canvas): string {
  const count = Math.floor(random.between(7, 12));
  const cx = width * random.between(0.3, 0.7);
  const cy = height * random.between(0.3, 0.42);
  const turn = random.between(0, 360);
  const [length, girth] = [unit * random.between(0.4, 0.54), unit * random.between(0.1, 0.16)];
  const shapes: string[] = [];
  for (let index = 0; index < count; index += 1) {
    const angle = turn + (index * 360) / count;
    const reach = length * (index % 2 === 0 ? 1 : 0.78);
    const colour = palette.lights[index % 4] ?? palette.accent;
    const fill = define((id) =>
      linearGradient(
        id,
        [0, 0, reach, 0],
        [
          { at: 0, colour: lighter(colour, 0.2), opacity: 0.95 },
          { at: 0.55, colour, opacity: 0.6 },
          { at: 1, colour: lighter(colour, -0.08), opacity: 0.22 },
        ],
      ),
    );
    const outline: Point[] = [
      [0, 0],
      [reach * 0.3, -girth * 0.86],
      [reach * 0.66, -girth],
      [reach, 0],
      [reach * 0.66, girth],
      [reach * 0.3, girth * 0.86],
    ];
    shapes.push(
      element("path", {
        d: smoothPath(outline, true),
        fill,
        stroke: "#fff",
        "stroke-opacity": 0.22,
        "stroke-width": unit * 0.0012,
        transform: `translate(${cx.toFixed(2)} ${cy.toFixed(2)}) rotate(${angle.toFixed(2)})`,
      }),
    );
  }
  const behind = glow(define, { cx, cy, r: unit * 0.6, colour: palette.ground[0], opacity: 0.6 });
  const heart = glow(define, { cx, cy, r: unit * 0.16, colour: palette.accent, opacity: 0.95 });
  return behind + shapes.join("") + heart;
}

function dust({ width, height, unit, random }: Canvas): string {
  const specks: string[] = [];
  for (let index = 0; index < 46; index += 1) {
    specks.push(
      element("circle", {
        cx: random.between(0, width),
        cy: random.between(0, height * 0.75),
        r: unit * random.between(0.0006, 0.0019),
        fill: "#fff",
        "fill-opacity": random.between(0.12, 0.6),
      }),
    );
  }
  return specks.join("");
}

interface Glow {
  cx: number;
  cy: number;
  r: number;
  colour: Colour;
  opacity: number;
}

/** Light that ends nowhere in particular: opacity falls off like a bell, with a gradient's cost and not a blur's. */
function glow(define: Canvas["define"], { cx, cy, r, colour, opacity }: Glow): string {
  const stops: Stop[] = [0, 0.16, 0.32, 0.48, 0.64, 0.8, 1].map((at) => ({
    at,
    colour,
    opacity: at === 1 ? 0 : opacity * Math.exp(-4.2 * at * at),
  }));
  const fill = define((id) => radialGradient(id, {}, stops));
  return element("circle", { cx, cy, r, fill });
}
