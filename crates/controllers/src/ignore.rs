//! Answers of the API that are no failures for who only wants a state to be reached.

use client::Error;

/// The object is not there any more.
pub(crate) fn ignore_not_found<T>(result: Result<T, Error>) -> Result<(), Error> {
    match result {
        Err(error) if error.is_not_found() => Ok(()),
        result => result.map(drop),
    }
}

/// The object that was meant is not there any more, or is another one by now: its change wakes the controller again.
pub(crate) fn ignore_gone<T>(result: Result<T, Error>) -> Result<(), Error> {
    match result {
        Err(error) if error.is_conflict() => Ok(()),
        result => ignore_not_found(result),
    }
}
