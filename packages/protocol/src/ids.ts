const DASH = 0x2d;
const LENGTH = 36;

/** By ASCII code: is it a hexadecimal digit? */
const IS_HEX = new Uint8Array(128);
for (const digit of '0123456789abcdefABCDEF') IS_HEX[digit.charCodeAt(0)] = 1;

/** Is it shaped like a UUID, `8-4-4-4-12` hexadecimal digits? A loop: each call of each client asks. */
export function isUuid(text: string): boolean {
  if (text.length !== LENGTH) return false;
  for (let i = 0; i < LENGTH; i++) {
    const c = text.charCodeAt(i);
    if (i === 8 || i === 13 || i === 18 || i === 23) {
      if (c !== DASH) return false;
    } else if (c >= 128 || IS_HEX[c] !== 1) {
      return false;
    }
  }
  return true;
}
