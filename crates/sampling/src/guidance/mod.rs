//! How a prediction with the prompt and one without become one.
