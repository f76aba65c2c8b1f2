import type { Colour } from "./colour.ts";
import { hex } from "./colour.ts";

export type Attributes = Record<string, string | number | undefined>;

/** The only way text gets into a picture: everything in attributes and content is escaped here. */
export function element(name: string, attributes: Attributes, ...content: string[]): string {
  const written = Object.entries(attributes)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => ` ${key}="${typeof value === "number" ? round(value) : escapeXml(value ?? "")}"`)
    .join("");
  return `<${name}${written}>${content.join("")}</${name}>`;
}

export function escapeXml(text: string): string {
  return text
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;")
    .replaceAll("'", "&apos;");
}

/** Two decimals: no picture shows more, and the text stays short. */
export function round(value: number): string {
  return String(Math.round(value * 100) / 100);
}

export interface Stop {
  at: number;
  colour: Colour;
  opacity?: number;
}

export function linearGradient(
  id: string,
  [x1, y1, x2, y2]: readonly [number, number, number, number],
  stops: readonly Stop[],
): string {
  const line = { id, gradientUnits: "userSpaceOnUse", x1, y1, x2, y2 };
  return element("linearGradient", line, ...stops.map(stop));
}

export function radialGradient(id: string, attributes: Attributes, stops: readonly Stop[]): string {
  return element("radialGradient", { id, ...attributes }, ...stops.map(stop));
}

function stop({ at, colour, opacity }: Stop): string {
  return element("stop", { offset: at, "stop-color": hex(colour), "stop-opacity": opacity });
}

export type Point = readonly [number, number];

/** A smooth curve through the points (Catmull-Rom as Béziers), closed on demand. */
export function smoothPath(points: readonly Point[], closed = false): string {
  const count = points.length;
  const at = (index: number): Point => {
    const inside = closed ? (index + count) % count : Math.min(count - 1, Math.max(0, index));
    return points[inside] ?? [0, 0];
  };
  const parts = [`M${at(0).map(round).join(" ")}`];
  for (let index = 0; index < (closed ? count : count - 1); index += 1) {
    const [before, from, to, after] = [at(index - 1), at(index), at(index + 1), at(index + 2)];
    const control = [
      from[0] + (to[0] - before[0]) / 6,
      from[1] + (to[1] - before[1]) / 6,
      to[0] - (after[0] - from[0]) / 6,
      to[1] - (after[1] - from[1]) / 6,
      ...to,
    ];
    parts.push(`C${control.map(round).join(" ")}`);
  }
  return parts.join("") + (closed ? "Z" : "");
}
