/** Plain scalars as PyYAML's safe loader reads them: YAML 1.1, with other numbers and keywords than YAML 1.2. */

const WORDS: Readonly<Record<string, boolean>> = {
  yes: true,
  true: true,
  on: true,
  no: false,
  false: false,
  off: false,
}
/** A keyword can be in lower case, capitalised, or in upper case. */
const isCased = (text: string): boolean =>
  [text.toLowerCase(), text.toUpperCase(), `${text[0]?.toUpperCase()}${text.slice(1).toLowerCase()}`].includes(text)

const INTEGER = /^([-+]?)(?:0b([01_]+)|0x([0-9a-fA-F_]+)|0([0-7_]+)|(0|[1-9][0-9_]*)|([1-9][0-9_]*(?::[0-5]?[0-9])+))$/
/** Without a decimal point it is a string, such as 1e5. */
const FLOAT = /^[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+][0-9]+)?$/
const SIXTIES = /^([-+]?)([0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*)$/
const INFINITE = /^([-+]?)\.(?:inf|Inf|INF)$/

const plain = (text: string): string => text.replaceAll('_', '')
const sixties = (text: string): number =>
  plain(text)
    .split(':')
    .reduce((sum, part) => sum * 60 + Number(part), 0)

function integer(text: string): number | undefined {
  const [whole, sign, binary, hex, octal, decimal, base60] = INTEGER.exec(text) ?? []
  if (whole === undefined) return undefined
  const digits = (value: string, base: number): number => Number.parseInt(plain(value), base)
  const value =
    binary !== undefined
      ? digits(binary, 2)
      : hex !== undefined
        ? digits(hex, 16)
        : octal !== undefined
          ? digits(octal, 8)
          : base60 !== undefined
            ? sixties(base60)
            : digits(decimal!, 10)
  if (Number.isNaN(value)) return undefined
  return sign === '-' ? -value : value
}

/** Everything else is a string. */
export function pythonValue(text: string): string | number | boolean | null {
  if (text === '' || text === '~' || (text.toLowerCase() === 'null' && isCased(text))) return null
  const word = isCased(text) && Object.hasOwn(WORDS, text.toLowerCase()) ? WORDS[text.toLowerCase()] : undefined
  if (word !== undefined) return word
  const whole = integer(text)
  if (whole !== undefined) return whole
  if (FLOAT.test(text)) return Number(plain(text))
  const [, sign, parts] = SIXTIES.exec(text) ?? []
  if (parts !== undefined) return sign === '-' ? -sixties(parts) : sixties(parts)
  const infinite = INFINITE.exec(text)
  if (infinite) return infinite[1] === '-' ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY
  return /^\.(?:nan|NaN|NAN)$/.test(text) ? Number.NaN : text
}
