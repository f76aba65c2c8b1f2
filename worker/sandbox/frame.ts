/**
 * A picture as films have it (I420): a plane of brightness, then two of colour at half its width and height. Both sides
 * are even.
 */
export interface Frame {
  width: number;
  height: number;
  planes: Uint8Array;
}

/** A plane within a frame. */
interface Plane {
  bytes: Uint8Array;
  width: number;
  height: number;
}

export function blankFrame(width: number, height: number): Frame {
  const planes = new Uint8Array((width * height * 3) / 2).fill(128);
  planes.fill(16, 0, width * height);
  return { width, height, planes };
}

function planesOf({ width, height, planes }: Frame): [Plane, Plane, Plane] {
  const [luma, chroma] = [width * height, (width * height) / 4];
  const half = { width: width / 2, height: height / 2 };
  return [
    { bytes: planes.subarray(0, luma), width, height },
    { bytes: planes.subarray(luma, luma + chroma), ...half },
    { bytes: planes.subarray(luma + chroma), ...half },
  ];
}

/** Pixels are opaque, four bytes each. */
export function frameOfPixels(pixels: Uint8Array, width: number, height: number): Frame {
  const frame = blankFrame(width, height);
  const [luma, blue, red] = planesOf(frame);
  const at = (x: number, y: number): [number, number, number] => {
    const offset = (y * width + x) * 4;
    return [pixels[offset] ?? 0, pixels[offset + 1] ?? 0, pixels[offset + 2] ?? 0];
  };
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const [r, g, b] = at(x, y);
      luma.bytes[y * width + x] = 16 + ((66 * r + 129 * g + 25 * b + 128) >> 8);
    }
  }
  for (let y = 0; y < height; y += 2) {
    for (let x = 0; x < width; x += 2) {
      const four = [at(x, y), at(x + 1, y), at(x, y + 1), at(x + 1, y + 1)];
      const mean = (channel: 0 | 1 | 2): number => four.reduce((sum, pixel) => sum + pixel[channel], 0) / 4;
      const [r, g, b] = [mean(0), mean(1), mean(2)];
      const offset = (y / 2) * blue.width + x / 2;
      blue.bytes[offset] = 128 + (-38 * r - 74 * g + 112 * b) / 256;
      red.bytes[offset] = 128 + (112 * r - 94 * g - 18 * b) / 256;
    }
  }
  return frame;
}

/** Three bytes a pixel: red, green, blue. */
export function coloursOfFrame(frame: Frame): Uint8Array {
  const [luma, blue, red] = planesOf(frame);
  const colours = new Uint8ClampedArray(frame.width * frame.height * 3);
  for (let y = 0; y < frame.height; y += 1) {
    for (let x = 0; x < frame.width; x += 1) {
      const offset = y * frame.width + x;
      const chroma = (y >> 1) * blue.width + (x >> 1);
      const light = 1.164 * ((luma.bytes[offset] ?? 16) - 16);
      const [u, v] = [(blue.bytes[chroma] ?? 128) - 128, (red.bytes[chroma] ?? 128) - 128];
      colours[offset * 3] = light + 1.596 * v;
      colours[offset * 3 + 1] = light - 0.392 * u - 0.813 * v;
      colours[offset * 3 + 2] = light + 2.017 * u;
    }
  }
  return new Uint8Array(colours.buffer);
}

/** A part of a larger frame. */
export function windowOf(frame: Frame, at: { x: number; y: number }, width: number, height: number): Frame {
  const part = blankFrame(width, height);
  const [from, to] = [planesOf(frame), planesOf(part)];
  for (const index of [0, 1, 2] as const) {
    const [source, target] = [from[index], to[index]];
    const shift = index === 0 ? 0 : 1;
    for (let y = 0; y < target.height; y += 1) {
      const start = (y + (at.y >> shift)) * source.width + (at.x >> shift);
      target.bytes.set(source.bytes.subarray(start, start + target.width), y * target.width);
    }
  }
  return part;
}

/** The frame in another size, which it fills; what stands over is cut off evenly. */
export function fittedTo(frame: Frame, width: number, height: number): Frame {
  if (frame.width === width && frame.height === height) return frame;
  const scale = Math.max(width / frame.width, height / frame.height);
  const fitted = blankFrame(width, height);
  const [from, to] = [planesOf(frame), planesOf(fitted)];
  for (const index of [0, 1, 2] as const) {
    const [source, target] = [from[index], to[index]];
    const left = (source.width - target.width / scale) / 2;
    const top = (source.height - target.height / scale) / 2;
    for (let y = 0; y < target.height; y += 1) {
      const row = Math.min(source.height - 1, Math.floor(top + (y + 0.5) / scale)) * source.width;
      for (let x = 0; x < target.width; x += 1) {
        const column = Math.min(source.width - 1, Math.floor(left + (x + 0.5) / scale));
        target.bytes[y * target.width + x] = source.bytes[row + column] ?? 0;
      }
    }
  }
  return fitted;
}

/** From one frame to another of the same size: `share` tells for each column, from 0 to 1, how much of the second is there. */
export function mixed(first: Frame, second: Frame, share: (x: number) => number): Frame {
  const { width, height } = first;
  const result = blankFrame(width, height);
  const shares = Int32Array.from({ length: width }, (_, x) => Math.round(share(x / width) * 256));
  const [from, to, into] = [planesOf(first), planesOf(second), planesOf(result)];
  for (const index of [0, 1, 2] as const) {
    const [a, b, target] = [from[index].bytes, to[index].bytes, into[index]];
    const step = index === 0 ? 1 : 2;
    for (let y = 0, offset = 0; y < target.height; y += 1) {
      for (let x = 0; x < target.width; x += 1, offset += 1) {
        const before = a[offset] ?? 0;
        const weight = shares[x * step] ?? 0;
        target.bytes[offset] = before + ((((b[offset] ?? 0) - before) * weight + 128) >> 8);
      }
    }
  }
  return result;
}

/** Lays a smaller frame over a larger one, at an even height, as wide as it is. */
export function lay(over: Frame, onto: Frame, top: number): void {
  const [from, to] = [planesOf(over), planesOf(onto)];
  for (const index of [0, 1, 2] as const) {
    const start = (index === 0 ? top : top / 2) * to[index].width;
    to[index].bytes.set(from[index].bytes, start);
  }
}

/** A bright bar from the left edge. */
export function drawBar(frame: Frame, top: number, height: number, length: number): void {
  const [luma, blue, red] = planesOf(frame);
  for (let y = top; y < top + height; y += 1) luma.bytes.fill(225, y * luma.width, y * luma.width + length);
  for (const { bytes, width } of [blue, red]) {
    for (let y = top / 2; y < (top + height) / 2; y += 1) bytes.fill(128, y * width, y * width + length / 2);
  }
}
