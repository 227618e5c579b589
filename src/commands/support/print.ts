import { type Diagnostic, fault, formatDiagnostic } from '../../core/diagnostics.js'
import { printableText } from '../../ui/text.js'

/** A result: to standard output, with a line break at its end. */
export const print = (text: string): void =>
  void process.stdout.write(text === '' || text.endsWith('\n') ? text : `${text}\n`)

/** To standard error, as people read it, free of what a stranger's name could do to a terminal. */
export const complain = (diagnostics: readonly Diagnostic[]): void => {
  for (const diagnostic of diagnostics) process.stderr.write(`${printableText(formatDiagnostic(diagnostic))}\n`)
}

/**
 * A reader that has gone (`terge … | head`) or a terminal that was closed is not an error: work goes on, or is tidied up. Where
 * nothing can be written, the exit code says so.
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
