import { createHash } from "node:crypto";

/** What a sandbox picture shows; the same description gives the same picture. */
export interface PictureDescription {
  prompt: string;
  taskType: string;
  model: string;
  seed: number;
  width: number;
  height: number;
  /** Shown over the prompt of tasks that change a picture instead of making one. */
  edits: boolean;
}

const longestPrompt = 600;
const smallestSide = 64;
const longestSide = 4096;
const mostPixels = 16_000_000;

const editTypes = new Set([
  "z_image_turbo_i2i",
  "image_inpaint",
  "annotated_image_edit",
  "qwen_image_edit",
  "image_edit",
  "magic_edit",
]);

/** Reads params as workers do: anything may be missing or of another type. */
export function describePicture(taskType: string, params: Record<string, unknown>): PictureDescription {
  const text = (name: string) => (typeof params[name] === "string" ? params[name] : "");
  const seed = Number(params["seed"]);
  return {
    prompt: readable(text("prompt")),
    taskType,
    model: readable(text("model") || text("model_name")).slice(0, 60),
    seed: Number.isSafeInteger(seed) ? seed : 0,
    ...sizeOf(text("resolution")),
    edits: editTypes.has(taskType),
  };
}

function sizeOf(resolution: string): { width: number; height: number } {
  const match = /^(\d{1,5})\s*[x×*]\s*(\d{1,5})$/i.exec(resolution.trim());
  const side = (digits: string | undefined) =>
    Math.min(longestSide, Math.max(smallestSide, Number(digits ?? 1024) || 1024));
  const [width, height] = [side(match?.[1]), side(match?.[2])];
  const scale = Math.min(1, Math.sqrt(mostPixels / (width * height)));
  return { width: Math.floor(width * scale), height: Math.floor(height * scale) };
}

/** One line of characters that XML can hold, of a length that a picture can. */
function readable(text: string): string {
  const plain = Array.from(text.slice(0, longestPrompt * 2))
    .filter((character) => !/[\p{Cs}\p{Co}\p{Cn}\u202a-\u202e\u2066-\u2069]/u.test(character))
    .join("")
    .replace(/[\p{Cc}\s]+/gu, " ")
    .trim();
  const characters = [...plain];
  return characters.length > longestPrompt ? `${characters.slice(0, longestPrompt).join("")}…` : plain;
}

/** The picture as SVG: soft fields of colour drawn from the description's hash, the prompt set large over them. */
export function pictureSvg(picture: PictureDescription): string {
  const { width, height, prompt, model, seed, taskType } = picture;
  const chance = numbersFrom(`${seed}\n${model}\n${prompt}`);
  const short = Math.min(width, height);
  const hue = chance() * 360;
  const spread = 40 + chance() * 110;

  const fields: string[] = [];
  const gradients: string[] = [];
  for (let index = 0; index < 7; index++) {
    const colour = `hsl(${Math.round(hue + (chance() - 0.5) * spread * 2)}, ${Math.round(55 + chance() * 35)}%, ${Math.round(38 + chance() * 30)}%)`;
    gradients.push(
      `<radialGradient id="g${index}"><stop offset="0" stop-color="${colour}" stop-opacity="0.95"/>` +
        `<stop offset="0.6" stop-color="${colour}" stop-opacity="0.35"/><stop offset="1" stop-color="${colour}" stop-opacity="0"/></radialGradient>`,
    );
    const [x, y, rx, ry] = [
      chance() * width,
      chance() * height,
      (0.35 + chance() * 0.5) * width,
      (0.3 + chance() * 0.5) * height,
    ];
    fields.push(
      `<ellipse cx="${f(x)}" cy="${f(y)}" rx="${f(rx)}" ry="${f(ry)}" fill="url(#g${index})" transform="rotate(${f(chance() * 180)} ${f(x)} ${f(y)})"/>`,
    );
  }
  const rings: string[] = [];
  const [cx, cy] = [width * (0.2 + chance() * 0.6), height * (0.15 + chance() * 0.45)];
  for (let ring = 1; ring <= 9; ring++) {
    rings.push(
      `<circle cx="${f(cx)}" cy="${f(cy)}" r="${f((short * ring) / 11)}" fill="none" stroke="#fff" stroke-opacity="${(0.16 - ring * 0.014).toFixed(3)}" stroke-width="${f(short / 500)}"/>`,
    );
  }

  const margin = short * 0.07;
  const { lines, size } = setText(prompt || "(no prompt)", width - 2 * margin, height * 0.52, short);
  const small = Math.max(7, short * 0.021);
  const footerY = height - margin;
  const firstY = footerY - small * 2.6 - (lines.length - 1) * size * 1.22;
  const text = lines
    .map(
      (line, index) =>
        `<text x="${f(margin)}" y="${f(firstY + index * size * 1.22)}" font-size="${f(size)}" class="p">${escape(line)}</text>`,
    )
    .join("");
  const details = [taskType, model, `seed ${seed}`, `${width}×${height}`].filter(Boolean).join("  ·  ");
  const badge = picture.edits
    ? `<text x="${f(margin)}" y="${f(firstY - size * 1.25)}" font-size="${f(small * 1.1)}" class="e">EDIT</text>`
    : "";

  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}">
<style>.p{font-family:"DejaVu Serif";fill:#fff}.f{font-family:"DejaVu Sans";fill:#fff;fill-opacity:.78}.e{font-family:"DejaVu Sans";fill:#fff;fill-opacity:.9;letter-spacing:${f(small * 0.3)}px}</style>
<defs>${gradients.join("")}<linearGradient id="shade" x1="0" y1="0" x2="0" y2="1"><stop offset="0.3" stop-color="#000" stop-opacity="0"/><stop offset="1" stop-color="#000" stop-opacity="0.62"/></linearGradient></defs>
<rect width="${width}" height="${height}" fill="hsl(${Math.round(hue)}, 45%, 14%)"/>
${fields.join("")}${rings.join("")}
<rect width="${width}" height="${height}" fill="url(#shade)"/>
${badge}${text}
<text x="${f(margin)}" y="${f(footerY)}" font-size="${f(small)}" class="f">${escape(fit(details, width - 2 * margin - small * 11, small))}</text>
<text x="${f(width - margin)}" y="${f(footerY)}" font-size="${f(small)}" text-anchor="end" class="f">Darkroom sandbox</text>
</svg>`;
}

/** The largest setting of a text that fits its box; cut with an ellipsis when even the smallest does not. */
function setText(
  text: string,
  width: number,
  height: number,
  short: number,
): { lines: string[]; size: number } {
  let size = short * 0.085;
  const smallest = Math.max(8, short * 0.03);
  for (; ; size *= 0.9) {
    const lines = wrap(text, Math.max(4, Math.floor(width / (size * 0.62))));
    const most = Math.max(1, Math.floor(height / (size * 1.22)));
    if (lines.length <= most) return { lines, size };
    if (size * 0.9 < smallest)
      return { lines: [...lines.slice(0, most - 1), `${lines[most - 1] ?? ""} …`], size };
  }
}

function wrap(text: string, columns: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ").flatMap((long) => chunks(long, columns))) {
    if (line && line.length + 1 + word.length > columns) {
      lines.push(line);
      line = word;
    } else {
      line = line ? `${line} ${word}` : word;
    }
  }
  return line ? [...lines, line] : lines;
}

function chunks(word: string, columns: number): string[] {
  const characters = [...word];
  const parts: string[] = [];
  for (let start = 0; start < characters.length; start += columns) {
    parts.push(characters.slice(start, start + columns).join(""));
  }
  return parts;
}

function fit(text: string, width: number, size: number): string {
  const columns = Math.max(4, Math.floor(width / (size * 0.62)));
  return text.length <= columns ? text : `${text.slice(0, columns - 1)}…`;
}

/** An endless row of numbers in [0, 1) that depends on nothing but the text. */
function numbersFrom(text: string): () => number {
  let block = createHash("sha256").update(text).digest();
  let offset = 0;
  return () => {
    if (offset + 4 > block.length) {
      block = createHash("sha256").update(block).digest();
      offset = 0;
    }
    offset += 4;
    return block.readUInt32BE(offset - 4) / 2 ** 32;
  };
}

function escape(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

/** Coordinates with one decimal: shorter, and the same on every machine. */
function f(value: number): string {
  return value.toFixed(1);
}
