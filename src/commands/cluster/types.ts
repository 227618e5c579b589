/** What an engine of cluster jobs needs to know of a run in parts. */
export interface Job {
  /** The recipe as the jobs are given it. */
  readonly recipe: string
  /** The folder where the jobs work. */
  readonly folder: string
  /** The words that start terge. */
  readonly program: readonly string[]
  readonly parts: number
  /** Flags of all jobs. */
  readonly flags: readonly string[]
  /** Further flags of the last job. */
  readonly last: readonly string[]
  /** Settings of the engine, by name. */
  readonly options: ReadonlyMap<string, string>
  /** The texts of the recipe and its lock, for jobs that do not see the files of this machine. The recipe is the first. */
  readonly texts: readonly { readonly name: string; readonly text: string }[]
}

export interface Engine {
  /** The end of the file's name. */
  readonly extension: string
  /** The text of the file. Errors: `bad-flag`, `missing-flag`. */
  readonly write: (job: Job) => string
  /** The command that hands the file over. */
  readonly submit: (file: string) => readonly string[]
  /** Whether the jobs can have other credentials than this machine. */
  readonly elsewhere: boolean
  /** Whether the jobs see the files that the recipe names. */
  readonly seesFiles: (options: ReadonlyMap<string, string>) => boolean
}
