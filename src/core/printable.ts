/**
 * Text for terminals and logs. Names in checkpoints are a stranger's text: they must neither move the cursor nor forge what stands
 * beside them, and no line of a log may be taken for a command by the service that runs terge.
 */

/** Controls, line and paragraph separators, marks that turn the direction of writing or show nothing, halves of surrogate pairs. */
const UNSAFE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\u2065]/gu
/** The same without line breaks and tabs. */
const UNSAFE_IN_TEXT = /(?![\n\t])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\u2065]/gu
/** GitHub runs lines that begin with `::`, and `##[…]` anywhere; Azure `##vso[`, TeamCity `##teamcity[`. */
const COMMAND_LINE = /^(\s*):(?=:)/gm
const COMMAND = /#(?=#(?:\w+)?\[)/g

const INSTEAD = '\ufffd'

const disarmed = (text: string): string => text.replace(COMMAND_LINE, `$1${INSTEAD}`).replace(COMMAND, INSTEAD)

/** A name from a file, on one line, each unsafe character as U+FFFD. */
export const printable = (name: string): string => disarmed(name.replace(UNSAFE, INSTEAD))

/** The same for a text of several lines: line breaks and tabs stay. */
export const printableText = (text: string): string => disarmed(text.replace(UNSAFE_IN_TEXT, INSTEAD))

const escapeUnit = (unit: string): string =>
  [...Array(unit.length).keys()].map((at) => `\\u${unit.charCodeAt(at).toString(16).padStart(4, '0')}`).join('')

/** A text of JSON; what is unsafe can stand only in its strings, and becomes an escape of the same meaning. */
export const safeJson = (text: string): string => text.replace(UNSAFE_IN_TEXT, escapeUnit).replace(COMMAND, escapeUnit)
