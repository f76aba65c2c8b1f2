import { drawArtwork } from "./artwork.ts";
import { type Palette, fade, hex, makePalette } from "./colour.ts";
import { sans } from "./font.ts";
import type { PictureDescription, PictureSource } from "./description.ts";
import { seededRandom } from "./seeded-random.ts";
import { sourceImage } from "./source-image.ts";
import { type Point, element, escapeXml, linearGradient, smoothPath } from "./svg.ts";
import { type TextBlock, directed, fitLine, typeset } from "./typesetting.ts";

/** Every picture says who made it. */
export const signature = "Darkroom sandbox";

/** The whole picture as SVG: artwork, what an edit changed, the prompt, the footer. */
export function pictureSvg(picture: PictureDescription): string {
  const { width, height, fingerprint } = picture;
  const palette = makePalette(seededRandom(`palette ${fingerprint}`));
  const footer = layFooter(picture);
  const prompt = layPrompt(picture, footer.top);
  return element(
    "svg",
    { xmlns: "http://www.w3.org/2000/svg", width, height, viewBox: `0 0 ${width} ${height}` },
    picture.edit ? drawEdit(picture, palette, picture.edit) : drawArtwork(fingerprint, picture, palette, "a"),
    drawShade(picture, palette, prompt?.top ?? footer.top),
    picture.edit ? drawBadge(picture, picture.edit) : "",
    prompt ? drawPrompt(picture, prompt) : "",
    drawFooter(picture, footer),
  );
}

type Size = Pick<PictureDescription, "width" | "height">;

const margin = ({ width, height }: Size): number => Math.max(4, Math.min(width, height) * 0.065);

interface Footer {
  top: number;
  size: number;
  rows: { left: string; right: string; baseline: number }[];
}

function layFooter(picture: PictureDescription): Footer {
  const { width, height, taskType, model, seed } = picture;
  const room = width - 2 * margin(picture);
  const wished = Math.min(44, Math.max(9, Math.min(width, height) * 0.0185));
  // Only on pictures a few centimetres wide is this less than wished.
  const size = Math.min(wished, room / sans.width(signature));
  const details = [
    taskType,
    model === taskType ? undefined : model,
    seed === undefined ? undefined : `seed ${seed}`,
    `${width} × ${height}`,
  ]
    .filter((detail) => detail !== undefined)
    .join("  ·  ");
  const gap = size * 2;
  const oneRow = (sans.width(signature) + sans.width(details)) * size + gap <= room;
  const bottom = height - margin(picture);
  const texts = oneRow
    ? [{ left: signature, right: details }]
    : [
        { left: signature, right: "" },
        { left: fitLine(details, sans, room / size), right: "" },
      ];
  const rows = (height < 160 ? texts.slice(0, 1) : texts).map((row, index, all) => ({
    ...row,
    baseline: bottom - (all.length - 1 - index) * size * 1.55,
  }));
  return { top: (rows[0]?.baseline ?? bottom) - size * 1.9, size, rows };
}

function layPrompt(
  picture: PictureDescription,
  footerTop: number,
): (TextBlock & { top: number }) | undefined {
  if (picture.prompt === "") return undefined;
  const { width, height } = picture;
  const side = Math.min(width, height);
  const block = typeset(picture.prompt, {
    width: width - 2 * margin(picture),
    height: Math.min(height * 0.44, footerTop - margin(picture)),
    largest: Math.max(8, side * 0.082),
    smallest: Math.max(8, side * 0.026),
  });
  return { ...block, top: footerTop - side * 0.03 - block.lines.length * block.lineHeight };
}

/** Darkens towards the writing, so that it can be read on any artwork. */
function drawShade({ width, height }: Size, palette: Palette, textTop: number): string {
  const top = Math.max(0, textTop - height * 0.2);
  const at = (y: number): number => (y - top) / (height - top);
  const shade = palette.shade;
  const gradient = linearGradient(
    "shade",
    [0, top, 0, height],
    [
      { at: 0, colour: shade, opacity: 0 },
      { at: at(textTop) * 0.55, colour: shade, opacity: 0.24 },
      { at: at(textTop), colour: shade, opacity: 0.56 },
      { at: Math.min(1, at(textTop) + 0.3), colour: shade, opacity: 0.76 },
      { at: 1, colour: shade, opacity: 0.9 },
    ],
  );
  return (
    element("defs", {}, gradient) +
    element("rect", { y: top, width, height: height - top, fill: "url(#shade)" })
  );
}

function drawPrompt(size: Size, block: TextBlock & { top: number }): string {
  const anchor = block.rightToLeft
    ? { x: size.width - margin(size), "text-anchor": "end" }
    : { x: margin(size) };
  return block.lines
    .map((line, index) =>
      element(
        "text",
        {
          ...anchor,
          y: block.top + index * block.lineHeight + block.size,
          "font-family": block.font.family,
          "font-size": block.size,
          fill: "#fff",
        },
        escapeXml(directed(line, block.rightToLeft)),
      ),
    )
    .join("");
}

function drawFooter(picture: Size, footer: Footer): string {
  const [left, right] = [margin(picture), picture.width - margin(picture)];
  const rule = element("rect", {
    x: left,
    y: footer.top,
    width: right - left,
    height: Math.max(1, footer.size * 0.05),
    fill: "#fff",
    "fill-opacity": 0.32,
  });
  const face = { "font-family": sans.family, "font-size": footer.size, fill: "#fff" };
  const rows = footer.rows.map((row, index) => {
    const first = element(
      "text",
      { x: left, y: row.baseline, ...face, "fill-opacity": index === 0 ? 0.95 : 0.66 },
      escapeXml(row.left),
    );
    const second = { x: right, y: row.baseline, "text-anchor": "end", ...face, "fill-opacity": 0.66 };
    return row.right === "" ? first : first + element("text", second, escapeXml(row.right));
  });
  return rule + rows.join("");
}

/**
 * The picture before the edit and after it: side by side, or within the region that was edited. Before is what was given,
 * or a pale print where it could not be had; after is in the colours of the prompt.
 */
function drawEdit(
  picture: PictureDescription,
  palette: Palette,
  { kind, picture: source, mask }: NonNullable<PictureDescription["edit"]>,
): string {
  const { fingerprint, width, height } = picture;
  const artwork = drawArtwork(fingerprint, picture, palette, "a");
  if (kind === "upscale")
    return artwork + (source ? sourceImage(source, picture) : "") + drawCorners(picture);
  // The artwork is below what was given as well: a file whose content is broken leaves no hole.
  const before = source
    ? drawArtwork(fingerprint, picture, fade(palette), "b") + sourceImage(source, picture)
    : drawArtwork(fingerprint, picture, fade(palette), "b");
  if (kind === "pose") return before + drawPose(picture);
  const after = source ? before + element("g", { opacity: 0.62 }, artwork) : artwork;
  if (mask) return before + masked(picture, mask, after);
  const line = { fill: "none", stroke: "#fff", "stroke-width": Math.max(1, Math.min(width, height) * 0.003) };
  const unit = Math.min(width, height);

  if (kind === "whole") {
    const [top, bottom] = [width * 0.56, width * 0.4];
    const region = `M${top} 0L${width} 0L${width} ${height}L${bottom} ${height}Z`;
    const [x, y] = [top + (bottom - top) * 0.3, height * 0.3];
    const arrow = unit * 0.011;
    const heads = [-1, 1].map((side) => {
      const tip = x + side * arrow * 1.7;
      const back = x + side * arrow * 0.7;
      return element("path", { ...line, d: `M${back} ${y - arrow}L${tip} ${y}L${back} ${y + arrow}` });
    });
    return (
      clipped(before, after, region) +
      element("path", { ...line, d: `M${top} 0L${bottom} ${height}` }) +
      element("circle", { cx: x, cy: y, r: unit * 0.034, fill: "#000", "fill-opacity": 0.38 }) +
      element("circle", { ...line, cx: x, cy: y, r: unit * 0.034 }) +
      heads.join("")
    );
  }

  const outline = blob(picture);
  const region = smoothPath(outline, true);
  if (kind === "region") {
    const dash = Math.max(2, unit * 0.014);
    return (
      clipped(before, after, region) +
      element("path", {
        ...line,
        d: region,
        "stroke-dasharray": `${dash} ${dash * 0.7}`,
        "stroke-linecap": "round",
      })
    );
  }
  // Drawn as with a pen: once around and a little past where it began.
  const loop = smoothPath([
    ...outline,
    ...outline.slice(0, 3).map(([x, y]): Point => [x * 1.012, y * 0.985]),
  ]);
  const ink = { fill: "none", stroke: "#ffd54a", "stroke-width": unit * 0.007, "stroke-linecap": "round" };
  return clipped(before, after, region) + element("path", { ...ink, d: loop });
}

/** Above where the mask is bright. */
function masked(size: Size, mask: PictureSource, above: string): string {
  const definition = element("mask", { id: "edited" }, sourceImage(mask, size));
  return element("defs", {}, definition) + element("g", { mask: "url(#edited)" }, above);
}

function clipped(below: string, above: string, region: string): string {
  const clip = element("clipPath", { id: "edited" }, element("path", { d: region }));
  return below + element("defs", {}, clip) + element("g", { "clip-path": "url(#edited)" }, above);
}

/** A rounded, uneven region in the upper middle, where the writing leaves it free. */
function blob({ fingerprint, width, height }: PictureDescription): Point[] {
  const random = seededRandom(`region ${fingerprint}`);
  const [cx, cy] = [width * random.between(0.42, 0.62), height * random.between(0.32, 0.38)];
  const [rx, ry] = [width * random.between(0.24, 0.32), height * random.between(0.18, 0.23)];
  return Array.from({ length: 9 }, (_, index): Point => {
    const angle = (index / 9) * 2 * Math.PI - 2.2;
    const reach = random.between(0.82, 1.12);
    return [cx + rx * reach * Math.cos(angle), cy + ry * reach * Math.sin(angle)];
  });
}

/** A figure of lines and joints, as pose detectors draw it. */
function drawPose({ fingerprint, width, height }: PictureDescription): string {
  const random = seededRandom(`pose ${fingerprint}`);
  const unit = Math.min(width, height * 0.56);
  const turn = (): number => random.between(-0.07, 0.07);
  const at = (x: number, y: number): Point => [width / 2 + unit * x, height * 0.06 + unit * y];
  const joints: Record<string, Point> = {
    head: at(turn() * 0.4, 0.1),
    neck: at(0, 0.25),
    leftShoulder: at(-0.14, 0.27),
    rightShoulder: at(0.14, 0.27),
    leftElbow: at(-0.24 + turn(), 0.42 + turn()),
    rightElbow: at(0.24 + turn(), 0.42 + turn()),
    leftHand: at(-0.27 + turn(), 0.56 + turn()),
    rightHand: at(0.27 + turn(), 0.56 + turn()),
    leftHip: at(-0.09, 0.58),
    rightHip: at(0.09, 0.58),
    leftKnee: at(-0.11 + turn(), 0.76),
    rightKnee: at(0.11 + turn(), 0.76),
    leftFoot: at(-0.12 + turn(), 0.94),
    rightFoot: at(0.12 + turn(), 0.94),
  };
  const bones = [
    "head neck",
    "neck leftShoulder",
    "neck rightShoulder",
    "leftShoulder leftElbow",
    "rightShoulder rightElbow",
    "leftElbow leftHand",
    "rightElbow rightHand",
    "neck leftHip",
    "neck rightHip",
    "leftHip leftKnee",
    "rightHip rightKnee",
    "leftKnee leftFoot",
    "rightKnee rightFoot",
  ];
  const lines = bones.map((bone, index) => {
    const [[x1, y1] = [0, 0], [x2, y2] = [0, 0]] = bone.split(" ").map((name) => joints[name]);
    const stroke = hex({ lightness: 0.72, chroma: 0.19, hue: (index * 360) / bones.length });
    return element("line", {
      x1,
      y1,
      x2,
      y2,
      stroke,
      "stroke-width": unit * 0.02,
      "stroke-linecap": "round",
    });
  });
  const dots = Object.values(joints).map(([cx, cy]) =>
    element("circle", { cx, cy, r: unit * 0.014, fill: "#fff" }),
  );
  const dim = element("rect", { width, height, fill: "#000", "fill-opacity": 0.62 });
  return dim + lines.join("") + dots.join("");
}

/** Corner marks that grow outwards. */
function drawCorners({ width, height }: Size): string {
  const unit = Math.min(width, height);
  const [cx, cy] = [width / 2, height * 0.36];
  return [0.1, 0.16, 0.24]
    .map((half, index) => {
      const [r, arm] = [unit * half, unit * (0.02 + index * 0.012)];
      const marks = [-1, 1].flatMap((sx) =>
        [-1, 1].map((sy) => {
          const [x, y] = [cx + sx * r, cy + sy * r];
          return `M${x - sx * arm} ${y}L${x} ${y}L${x} ${y - sy * arm}`;
        }),
      );
      return element("path", {
        d: marks.join(""),
        fill: "none",
        stroke: index === 2 ? "#ffffff" : "#dddddd",
        "stroke-opacity": 0.45 + index * 0.25,
        "stroke-width": Math.max(1, unit * (0.002 + index * 0.001)),
      });
    })
    .join("")
    .concat(element("circle", { cx, cy, r: unit * 0.006, fill: "#fff", "fill-opacity": 0.9 }));
}

function drawBadge(picture: PictureDescription, edit: NonNullable<PictureDescription["edit"]>): string {
  const size = Math.min(40, Math.max(8, Math.min(picture.width, picture.height) * 0.0195));
  const room = (picture.width - 2 * margin(picture)) / size - 2;
  const what = {
    whole: "Edit",
    region: "Inpainting",
    annotated: "Annotated edit",
    upscale: "Upscale",
    pose: "Pose",
  }[edit.kind];
  const label = fitLine(edit.source ? `${what} of ${edit.source}` : what, sans, room);
  const [x, y] = [margin(picture), margin(picture)];
  return (
    element("rect", {
      x,
      y,
      width: (sans.width(label) + 2) * size,
      height: size * 2.1,
      rx: size * 1.05,
      fill: "#000",
      "fill-opacity": 0.46,
    }) +
    element(
      "text",
      { x: x + size, y: y + size * 1.4, "font-family": sans.family, "font-size": size, fill: "#fff" },
      escapeXml(label),
    )
  );
}
