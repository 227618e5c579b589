/**
 * Text for terminals and logs. Names in checkpoints are untrusted: they must not move the cursor or forge other output,
 * and a CI service must not read a log line as a command.
 */

/** Control characters, line and paragraph separators, invisible and direction marks, unpaired surrogates. */
const UNSAFE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\u2065]/gu
/** The same, except line breaks and tabs. */
const UNSAFE_IN_TEXT = /(?![\n\t])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\u2065]/gu
/** GitHub runs lines that start with `::`, and `##[…]` anywhere; Azure runs `##vso[`, TeamCity `##teamcity[`. */
const COMMAND_LINE = /^(\s*):(?=:)/gm
const COMMAND = /#(?=#(?:\w+)?\[)/g

const INSTEAD = '\ufffd'

const disarmed = (text: string): string => text.replace(COMMAND_LINE, `$1${INSTEAD}`).replace(COMMAND, INSTEAD)

/** A name on one line, with each unsafe character replaced by U+FFFD. */
export const printable = (name: string): string => disarmed(name.replace(UNSAFE, INSTEAD))

/** The same for text of several lines: keeps line breaks and tabs. */
export const printableText = (text: string): string => disarmed(text.replace(UNSAFE_IN_TEXT, INSTEAD))

const escapeUnit = (unit: string): string =>
  [...Array(unit.length).keys()].map((at) => `\\u${unit.charCodeAt(at).toString(16).padStart(4, '0')}`).join('')

/**
 * JSON text with unsafe characters replaced by escapes. They can only appear in strings, so the value stays the same.
 */
export const safeJson = (text: string): string => text.replace(UNSAFE_IN_TEXT, escapeUnit).replace(COMMAND, escapeUnit)
