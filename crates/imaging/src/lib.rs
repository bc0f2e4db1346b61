//! Decode, encode, colour, resize and text metadata of pictures.
