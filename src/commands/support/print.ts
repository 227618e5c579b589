import { type Diagnostic, fault } from '../../core/diagnostics.js'
import { widthOf } from '../../ui/fit.js'
import { diagnosticText, showsColours } from '../../ui/problems.js'
import { toJson } from '../../ui/text.js'

/** Prints a result to standard output, with a line feed at its end. */
export const print = (text: string): void =>
  void process.stdout.write(text === '' || text.endsWith('\n') ? text : `${text}\n`)

let inJson = false

/** Says how diagnostics are printed: as lines of JSON for commands with `--json`, as text otherwise. */
export function chooseMessages(argv: readonly string[]): void {
  inJson = argv.some(
    (word, i) => word === '--json' || `${argv[i - 1]}=${word}` === '--format=json' || word === '--format=json',
  )
}

/**
 * Prints diagnostics to standard error: in colour on a terminal, and without control characters from names in models. With `--json`,
 * as the events of a run.
 */
export const complain = (diagnostics: readonly Diagnostic[]): void => {
  if (inJson) {
    for (const diagnostic of diagnostics)
      process.stderr.write(`${toJson({ kind: diagnostic.severity, diagnostic }, 0)}\n`)
    return
  }
  const inColour = showsColours(process.stderr, process.env)
  const width = widthOf(process.stderr)
  for (const diagnostic of diagnostics) process.stderr.write(`${diagnosticText(diagnostic, inColour, width)}\n`)
}

/** Prints what the user should know and that is not wrong, to standard error. With `--json`, as the event of a run. */
export const remark = (message: string): void =>
  void process.stderr.write(inJson ? `${toJson({ kind: 'notice', message }, 0)}\n` : `note: ${message}\n`)

/**
 * Ignores errors of standard output and standard error after their reader has gone (`terge … | head`, a closed terminal): the work
 * continues, or cleans up. Any other write error ends the process with exit code 1.
 */
export function quietPipes(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EPIPE' || error.code === 'EIO') return
      if (stream === process.stdout)
        complain(
          fault('write-failed', `standard output: ${error.message}`, 'check where the output is sent to').diagnostics,
        )
      process.exit(1)
    })
  }
}
