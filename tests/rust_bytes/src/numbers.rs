//! The names of the numbers, their types, and the methods of the crate.

macro_rules! fixed_widths {
    ($use:ident) => {
        $use! {
            "u8", u8, get_u8, try_get_u8, put_u8;
            "i8", i8, get_i8, try_get_i8, put_i8;
            "u16_be", u16, get_u16, try_get_u16, put_u16;
            "u16_le", u16, get_u16_le, try_get_u16_le, put_u16_le;
            "u16_ne", u16, get_u16_ne, try_get_u16_ne, put_u16_ne;
            "u32_be", u32, get_u32, try_get_u32, put_u32;
            "u32_le", u32, get_u32_le, try_get_u32_le, put_u32_le;
            "u32_ne", u32, get_u32_ne, try_get_u32_ne, put_u32_ne;
            "u64_be", u64, get_u64, try_get_u64, put_u64;
            "u64_le", u64, get_u64_le, try_get_u64_le, put_u64_le;
            "u64_ne", u64, get_u64_ne, try_get_u64_ne, put_u64_ne;
            "u128_be", u128, get_u128, try_get_u128, put_u128;
            "u128_le", u128, get_u128_le, try_get_u128_le, put_u128_le;
            "u128_ne", u128, get_u128_ne, try_get_u128_ne, put_u128_ne;
            "i16_be", i16, get_i16, try_get_i16, put_i16;
            "i16_le", i16, get_i16_le, try_get_i16_le, put_i16_le;
            "i16_ne", i16, get_i16_ne, try_get_i16_ne, put_i16_ne;
            "i32_be", i32, get_i32, try_get_i32, put_i32;
            "i32_le", i32, get_i32_le, try_get_i32_le, put_i32_le;
            "i32_ne", i32, get_i32_ne, try_get_i32_ne, put_i32_ne;
            "i64_be", i64, get_i64, try_get_i64, put_i64;
            "i64_le", i64, get_i64_le, try_get_i64_le, put_i64_le;
            "i64_ne", i64, get_i64_ne, try_get_i64_ne, put_i64_ne;
            "i128_be", i128, get_i128, try_get_i128, put_i128;
            "i128_le", i128, get_i128_le, try_get_i128_le, put_i128_le;
            "i128_ne", i128, get_i128_ne, try_get_i128_ne, put_i128_ne;
            "f32_be", f32, get_f32, try_get_f32, put_f32;
            "f32_le", f32, get_f32_le, try_get_f32_le, put_f32_le;
            "f32_ne", f32, get_f32_ne, try_get_f32_ne, put_f32_ne;
            "f64_be", f64, get_f64, try_get_f64, put_f64;
            "f64_le", f64, get_f64_le, try_get_f64_le, put_f64_le;
            "f64_ne", f64, get_f64_ne, try_get_f64_ne, put_f64_ne;
        }
    };
}

macro_rules! given_widths {
    ($use:ident) => {
        $use! {
            "uint_be", u64, get_uint, try_get_uint, put_uint;
            "uint_le", u64, get_uint_le, try_get_uint_le, put_uint_le;
            "uint_ne", u64, get_uint_ne, try_get_uint_ne, put_uint_ne;
            "int_be", i64, get_int, try_get_int, put_int;
            "int_le", i64, get_int_le, try_get_int_le, put_int_le;
            "int_ne", i64, get_int_ne, try_get_int_ne, put_int_ne;
        }
    };
}
