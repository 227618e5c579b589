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
  /** What signatures are checked with: a flag of all jobs, and its file. */
  readonly trust?: { readonly flag: 'key' | 'certificate'; readonly file: string } | undefined
  /** The files that jobs need which do not see those of this machine. The recipe is the first. */
  readonly texts: readonly JobText[]
}

/** A file of the jobs. */
export interface JobText {
  /** What its name has after that of the recipe. */
  readonly suffix: '' | '.lock' | '.lock.sig' | '.pem'
  readonly text: string
}

/** The words of `trust`. `file`: its path as the jobs see it. */
export const trustWords = ({ trust }: Pick<Job, 'trust'>, file = trust?.file): readonly string[] =>
  trust ? [`--${trust.flag}=${file}`] : []

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
