import { type ExitCode, type Fault, fault } from '../diagnostics.js'

/** Whether an error of the file system says that a disk is full, or the part of it that a user may have. */
export const isDiskFull = (error: unknown): boolean =>
  ['ENOSPC', 'EDQUOT'].some((code) => (error as NodeJS.ErrnoException | undefined)?.code === code)

/** An error while a run writes to the disk of its output: `write-failed`. */
export const writeFault = (path: string, error: unknown): Fault =>
  fault(
    'write-failed',
    `${path}: ${(error as Error).message}`,
    isDiskFull(error) ? 'free space on the output’s disk and run again' : undefined,
    1,
  )

/** Reports errors of the file system as `cannot-write`, and a full disk as `disk-full`. */
export async function attempt<T>(output: string, exit: ExitCode, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (!(error instanceof Error) || typeof code !== 'string' || !/^E[A-Z]+$/.test(code)) throw error
    if (isDiskFull(error))
      throw fault('disk-full', `${output}: ${error.message}`, 'free some space, or choose another disk', exit)
    throw fault(
      'cannot-write',
      `${output}: cannot be written: ${error.message}`,
      'check the path, its permissions and the disk',
      exit,
    )
  }
}
